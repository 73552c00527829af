"""An aggregator on a store that a newer one has left: it ends by name and loses nothing, and the newer one goes on."""

import hashlib
import json
import subprocess
import sys

import pytest
import rfc8785

from fedapi.outcome import Exit
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites, until

CLIENTS = ("a", "b")


def rewritten(data: bytes, **changes: object) -> bytes:
    """A record as another version would have written it."""
    table = json.loads(data) | changes
    table.pop("checksum")
    return rfc8785.dumps(table | {"checksum": hashlib.sha256(rfc8785.dumps(table)).hexdigest()})


@pytest.mark.parametrize(
    ("changes", "words", "repaired"),
    [
        ({"strategy": {"name": "FedMagic"}}, "strategy 'FedMagic' is none of this version's (Bulyan, DiLoCo, F", Exit.OK),
        ({"codec": "Zstd"}, "plan.json: it is no PlanRecord of this version: codec: Input should be 'None'", Exit.TOO_OLD),
    ],
    ids=["strategy", "codec"],
)  # fmt: skip
def test_a_plan_that_this_version_cannot_carry_out_ends_it_by_name_and_stays(tmp_path, changes, words, repaired):
    job = JobFolder(tmp_path, config(CLIENTS))
    with Aggregator(job).ready():
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        sites[0].take_part(sites[0].next().train)  # acknowledged
    (plan,) = (tmp_path / "store").rglob("plan.json")
    ours = plan.read_bytes()
    plan.chmod(0o640)
    plan.write_bytes(rewritten(ours, **changes))
    with Aggregator(job) as older:
        assert older.wait() == Exit.TOO_OLD
    said = (tmp_path / "termination.log").read_text()
    assert words in said
    assert said.endswith("go on with the version of Fedloom that wrote it, or with a newer one")
    command = [sys.executable, "-m", "fedaggregator.repair", str(tmp_path / "store")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == repaired
    assert len(list((tmp_path / "store").rglob("*.manifest.json"))) == 1
    plan.write_bytes(ours)  # the newer version again
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    assert [p.client for p in job.commits()[1].participants] == ["a", "b"]
