"""Real trainers whose models and updates pass by a bucket that fails: URLs that are over, answers that get lost, storms."""

from contextlib import ExitStack

import pytest

from fedapi.wire.compression import Encoding
from tests.integration.fedaggregator.buckets import Reached, job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.integration.fedtrainer.programs import Site
from tests.servers import faulty
from tests.servers.faulty import Fault, refused

CLIENTS = ("site-a", "site-b")
BY_DELTA = {"rounds": 3, "download": Encoding(codec="TopK", fraction=0.1), "download_delta": True}


def trained(job: JobFolder, folder, task="AddOne") -> str:
    """Runs both trainers to the end of the job; their logs, and the aggregator's."""
    sites = [Site(folder / client, Reached(job), client) for client in CLIENTS]
    job.write_initial(sites[0].initial_model(task).read_bytes())
    with Aggregator(job).ready() as aggregator, ExitStack() as processes:
        started = [site.start("train", task) for site in sites]
        for process in started:
            processes.callback(process.close)
        ended = [site.end(process) for site, process in zip(sites, started, strict=True)]
        assert [each.code for each in ended] == [0, 0], [each.log for each in ended]
        return "".join((aggregator.log(), *(each.log for each in ended)))


def models(job: JobFolder) -> list[str]:
    return [each.model.sha256 for each in job.commits()]


@pytest.mark.parametrize(
    "values",
    [{}, {"encryption": "MLKEM768X25519"}, {"download": Encoding(codec="Int8")}],
    ids=" ".join,
)
def test_faults_of_the_bucket_change_nothing_in_the_model(tmp_path, minio, values):
    down = {name: value for name, value in values.items() if name == "download"}
    quiet = JobFolder(tmp_path / "quiet", config(CLIENTS, rounds=2, **down), model=None)
    trained(quiet, tmp_path / "quiet-sites")
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        job = job_in(proxy.server, tmp_path / "job", *CLIENTS, rounds=2, model=None, **values)
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
        assert models(job) == models(quiet)
    fetched = {target for method, target in seen if method == "GET" and ".broadcast.safetensors" in target}
    assert len(fetched) == (2 if down else 0), "of two rounds"
    puts = {target: tries for (method, target), tries in seen.items() if method == "PUT"}
    assert sorted(puts.values()) == [4] * 4, "each of four updates was refused, lost, refused, and found to be there"
    assert "the object store answers HTTP 403 AccessDenied" in log
    assert "Signature" not in log


@pytest.mark.parametrize("lost", ["the delta", "all that is on its way"])
def test_what_the_bucket_has_lost_of_a_delta_is_fetched_whole_or_made_again(tmp_path, minio, lost):
    quiet = JobFolder(tmp_path / "quiet", config(CLIENTS, **BY_DELTA), model=None)
    assert trained(quiet, tmp_path / "quiet-sites", "Wide").count("TopK: the model is") == 2 * 2
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        job = job_in(proxy.server, tmp_path / "job", *CLIENTS, model=None, **BY_DELTA)
        asked: list[str] = []

        def fault(request):
            """When the first site fetches the first delta, that, or what it makes too, is not there any more."""
            path = request.target.partition("?")[0]
            if "X-Amz-Signature" in request.target and path.endswith(".broadcast.safetensors"):
                asked.append(path)
                if len(asked) == 1:
                    found = [key for key in job.store.keys(f"{job.layout.models()}/") if ".broadcast." in key]
                    for key in (key for key in found if lost != "the delta" or path.endswith(key)):
                        job.store.delete(key)

        proxy.fault = fault
        log = trained(job, tmp_path / "sites", "Wide")
        proxy.fault = lambda _: None
        assert models(job) == models(quiet)
    assert "no model can be made of the one before" in log
    assert ("Missing: the object store answers HTTP 404" in log) == (lost == "all that is on its way")
