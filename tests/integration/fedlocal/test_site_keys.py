"""`fedloom site key new`, its public half into an FLClient, and a run: the commits hold the site's signatures."""

from pathlib import Path

import pytest
import yaml

from fedapi.wire import statement
from fedapi.wire.commit import CommitRecord
from fedapi.wire.signing import SigningKey, verifies
from tests.commands import fedloom
from tests.integration.fedlocal.runs import JOB, Lab, job, site


def made_key(name: str) -> tuple[dict, dict]:
    """The Secret, and what the FLClient gets: as the command prints them."""
    done = fedloom("site", "key", "new", name, "--secret")
    return yaml.safe_load(done.stdout), yaml.safe_load(done.stderr)["spec"]


def commits(lab: Lab) -> list[CommitRecord]:
    (store,) = (lab.state / "claims").glob("lab-store-*")
    found = [CommitRecord.stored(Path(path).read_bytes()) for path in store.glob("control/**/commit.json")]
    return sorted(found, key=lambda commit: commit.round)


@pytest.mark.parametrize("trainers", ["own", "shared"])
def test_a_site_with_a_key_signs_every_round(tmp_path, trainers):
    secret, spec = made_key("north")
    north = site("north")
    north["spec"] |= spec
    lab = Lab.of(tmp_path, job(rounds=2), north, site("south"), secret)
    code, output = lab.run("--trainers", trainers)
    assert code == 0, output
    key = SigningKey.of_pem(secret["stringData"]["signing.key"].encode())
    for commit in commits(lab)[1:]:
        by_name = {each.client: each for each in commit.participants}
        kept = by_name["north"].signed
        assert kept.key_id == key.id
        assert verifies(key.raw, kept.signature, statement.of_participant(commit, by_name["north"], kept))
        assert by_name["south"].signed is None
    done = lab.fedloom("ledger", "verify", JOB, "--site-keys", tmp_path / "manifests.yaml")
    said = "2 updates are signed by their sites; 2 are of sites without a key"
    assert said in " ".join(done.stdout.split())
    (tmp_path / "other.yaml").write_text(
        yaml.safe_dump(site("north") | {"spec": site("north")["spec"] | made_key("north")[1]})
    )
    done = lab.fedloom("ledger", "verify", JOB, "--site-keys", tmp_path / "other.yaml", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the update of site 'north' in round 1 is signed by key" in " ".join(done.stderr.split())


def test_a_key_that_no_manifest_holds_is_named_before_anything_starts(tmp_path):
    _, spec = made_key("north")
    north = site("north")
    north["spec"] |= spec
    code, output = Lab.of(tmp_path, job(), north).run()
    assert code == 2
    assert "spec.identity: needs 'fedloom-site-key-north', and no Secret" in output
