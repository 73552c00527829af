"""Real trainers whose models and updates pass by a bucket that fails: URLs that are over, answers that get lost, storms."""

from contextlib import ExitStack

import pytest

from tests.integration.fedaggregator.buckets import Reached, job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.integration.fedtrainer.programs import HERE, Site, end_all
from tests.servers import faulty
from tests.servers.faulty import Fault, refused

CLIENTS = ("site-a", "site-b")


@pytest.fixture(autouse=True)
def tasks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()


def trained(job: JobFolder, folder) -> str:
    """Runs both trainers to the end of the job; their logs, and the aggregator's."""
    sites = [Site(folder / client, Reached(job), client) for client in CLIENTS]
    job.write_initial(sites[0].initial_model("AddOne").read_bytes())
    with Aggregator(job).ready() as aggregator, ExitStack() as processes:
        started = [site.start("train", "AddOne") for site in sites]
        for process in started:
            processes.callback(process.close)
        ended = [site.end(process) for site, process in zip(sites, started, strict=True)]
        assert [each.code for each in ended] == [0, 0], [each.log for each in ended]
        return "".join((aggregator.log(), *(each.log for each in ended)))


@pytest.mark.parametrize("encryption", [None, "MLKEM768X25519"])
def test_faults_of_the_bucket_change_nothing_in_the_model(tmp_path, minio, encryption):
    quiet = JobFolder(tmp_path / "quiet", config(CLIENTS, rounds=2), model=None)
    trained(quiet, tmp_path / "quiet-sites")
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        job = job_in(proxy.server, tmp_path / "job", *CLIENTS, rounds=2, encryption=encryption, model=None)
        seen: dict[tuple[str, str], int] = {}

        def fault(request):
            """Of each model and update: first the URL is over, then its answer is lost, then there is a storm, then it works."""
            target, _, query = request.target.partition("?")
            if "X-Amz-Signature" not in query or ("/models/" in target and request.method == "PUT"):
                return None
            tries = seen[request.method, target] = seen.get((request.method, target), 0) + 1
            return {1: refused(403, "AccessDenied"), 2: Fault(lost_answer=True), 3: refused(503, "SlowDown")}.get(tries)

        proxy.fault = fault
        log = trained(job, tmp_path / "sites")
        proxy.fault = lambda _: None
        assert [each.model.sha256 for each in job.commits()] == [each.model.sha256 for each in quiet.commits()]
    puts = {target: tries for (method, target), tries in seen.items() if method == "PUT"}
    assert sorted(puts.values()) == [4] * 4, "each of four updates was refused, lost, refused, and found to be there"
    assert "the object store answers HTTP 403 AccessDenied" in log
    assert "Signature" not in log
