"""Rounds whose tensors pass by an object store alone: a real S3 server, the real aggregator, scripted sites."""

from collections import Counter
from urllib.parse import urlsplit

import pytest

from fedapi.wire.issues import IssueRecord
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, run_sites
from tests.servers import faulty

SERVERS = ("seaweedfs", "minio")


@pytest.fixture(params=SERVERS)
def server(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("kem", [None, "MLKEM768X25519"])
def test_rounds_are_those_of_a_volume(tmp_path, server, kem):
    models = []
    for job in (JobFolder(tmp_path / "volume", config()), job_in(server, tmp_path / "bucket", encryption=kem)):
        with Aggregator(job).ready() as aggregator:
            run_sites(job)
            log = aggregator.log()
        models.append([commit.model.sha256 for commit in job.commits()])
        assert job.status()["outcome"]["result"] == "Succeeded"
        assert "Signature" not in log
    assert models[0] == models[1]
    assert len(models[0]) == 4


@pytest.mark.parametrize("where", ["volume", "bucket"])
def test_what_was_issued_to_whom_is_beside_each_commit(tmp_path, seaweedfs, where):
    env = {"FEDLOOM_HTTP_INLINE_BYTES": "0"}
    job = job_in(seaweedfs, tmp_path, env=env) if where == "bucket" else JobFolder(tmp_path, config(), extra_env=env)
    with Aggregator(job).ready() as aggregator:
        run_sites(job)
        log = aggregator.log()
    keys = sorted(key for key in job.store.keys(f"{job.layout.rounds()}/") if key.endswith("/issues.json"))
    records = {record.round: record for record in (IssueRecord.stored(job.store.get(key)) for key in keys)}
    assert sorted(records) == [0, 1, 2, 3]
    for round_, record in records.items():
        put = {(issue.object.key, tuple(issue.holders)) for issue in record.issues if issue.method == "PUT"}
        payloads = [p.payloads["update"] for p in job.commits()[round_].participants]
        expected = {
            (job.layout.update(c, round_, p), (f"{c}/{round_}/1",)) for c, p in zip("ab", payloads, strict=False)
        }
        assert put == (expected or {(job.commits()[0].model.key, ("@init/0/0",))})
        got = {client for issue in record.issues if issue.method == "GET" for client in issue.holders}
        assert got == ({"a/0/0", "b/0/0"} if round_ else set())
    everything = log + "".join(job.store.get(key).decode() for key in keys)
    assert "ignature" not in everything
    assert "https://" not in everything.replace(job.url, "").replace(job.place.partition("endpoint=")[2], "")
    assert log.count('"upload granted"') == 7


def test_what_a_round_costs_in_requests(tmp_path, minio):
    """docs/storage.md tells these numbers; more sites and larger models add to them as it says."""
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        job = job_in(proxy.server, tmp_path / "job", rounds=4)
        with Aggregator(job).ready():
            run_sites(job)
    of_the_ledger = [each.method for each in proxy.seen if "/ledger/" in urlsplit(each.target).path]
    assert of_the_ledger.count("PUT") >= 4 * 3, "with each commit; others are by the clock"
    others = [each for each in proxy.seen if "/ledger/" not in urlsplit(each.target).path]
    asked = [(_kind(each), urlsplit(each.target).path.rpartition("/")[2]) for each in others]
    plans = [number for number, each in enumerate(asked) if each == ("PUT", "plan.json")]
    assert len(plans) == 4
    rounds = Counter(kind for kind, _ in asked[plans[1] : plans[3]])
    assert (rounds["PUT"], rounds["read"]) == (2 * 12, 2 * 16)
    whole = Counter(kind for kind, _ in asked[plans[0] :])  # what a round leaves is deleted beside the next one
    assert whole["list"] <= 4 * 3 + 5, "two for the history, three for the model card, at the end"
    assert whole["DELETE"] <= 4 * 6


def _kind(request: faulty.Request) -> str:
    """What it is paid as; looks at HEAD are by the clock."""
    if request.method in ("GET", "HEAD"):
        look = urlsplit(request.target).path.endswith("/HEAD.json")
        return "look" if look else "list" if "list-type" in request.target else "read"
    return request.method
