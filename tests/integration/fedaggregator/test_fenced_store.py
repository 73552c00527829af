"""Two aggregators at once on a store that ignores the conditions of writes: a Lease of a real API server decides, or a locked file."""

import json
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from safetensors.numpy import save

from fedaggregator import solewriter
from fedapi import names
from fedapi.outcome import Exit
from tests.integration.fedaggregator import outside
from tests.integration.fedaggregator.buckets import beside, job_in
from tests.integration.fedaggregator.harness import (
    Aggregator,
    JobFolder,
    Site,
    config,
    monitored,
    run_sites,
    small_model,
)
from tests.servers import faulty
from tests.servers.faulty import Fault
from tests.waiting import PATIENCE_S, until

JOB = {
    "apiVersion": names.API_VERSION,
    "kind": names.JOB_KIND,
    "spec": {"task": {"entrypoint": "task:make", "image": "example/task:1"}, "rounds": 3},
}
CONDITIONS = frozenset({"if-none-match", "if-match"})


@pytest.fixture
def proxy(seaweedfs, tmp_path):
    """A store that ignores conditions."""
    with faulty.before(seaweedfs, tmp_path / "proxy") as running:
        running.fault = ignoring
        yield running


def ignoring(request):
    """Conditions of writes do not arrive; those of reads, which all stores keep, do."""
    return Fault(without=CONDITIONS) if request.method in {"PUT", "POST"} else None


def fenced(proxy, root: Path, **env) -> JobFolder:
    job = job_in(proxy.server, root, env=env)
    job.place += "&fence=lease"
    return job


def on_cluster(proxy, root: Path, api, namespace) -> JobFolder:
    """A job that a cluster knows, with the Lease that the operator makes."""
    job = fenced(proxy, root, **{names.ENV_STATUS: "kubernetes", "KUBECONFIG": str(api.cluster.kubeconfig)})
    made = api.create(JOB | {"metadata": {"name": "job", "namespace": namespace}})
    lease = {"name": names.job_lease_name("job"), "namespace": namespace}
    api.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": lease, "spec": {}})
    job.write_config(job.config.model_copy(update={"namespace": namespace, "uid": made["metadata"]["uid"]}))
    return job


def second(job: JobFolder, root: Path) -> JobFolder:
    other = beside(job, root)
    other.extra_env = job.extra_env
    return other


def started(job: JobFolder) -> Aggregator:
    return Aggregator(job, str(Path(outside.__file__)))


def told(job: JobFolder) -> str:
    """Why the aggregator is not ready."""
    try:
        return monitored(job, "/readyz").text
    except httpx.TransportError:
        return ""


def holder(api, job: JobFolder) -> str:
    found = api.get("Lease", job.config.namespace, names.job_lease_name("job"))
    return found["spec"].get("holderIdentity", "")


def train(job: JobFolder, round_: int) -> None:
    """Both sites send their update of a round."""
    sites = [Site(job, name, samples=10 + 5 * number) for number, name in enumerate("ab")]
    for site in sites:
        site.next(0.0)  # the first round begins when both are there
    for site in sites:
        until(lambda site=site: site.step() == "Train", not_yet=(httpx.HTTPStatusError,))  # a hub that cannot write now
        assert site.trained[-1][0] == round_


def undisturbed(folder: Path) -> list[str]:
    job = JobFolder(folder, config())
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


def commits(job: JobFolder) -> list[str]:
    return [key for key in job.store.keys(f"{job.layout.rounds()}/") if key.endswith("/commit.json")]


@pytest.mark.apiserver
def test_a_holder_that_is_paused_past_its_lease_commits_nothing_more(tmp_path, proxy, api, namespace):
    """Its HEAD is on its way when it is paused, and arrives when another has gone on."""
    job = on_cluster(proxy, tmp_path / "first", api, namespace)
    other = second(job, tmp_path / "second")
    let_go, held = threading.Event(), threading.Event()

    def late(request):
        """Holds the first HEAD that is put from now on."""
        if request.method == "PUT" and urlsplit(request.target).path.endswith("/HEAD.json") and not held.is_set():
            held.set()
            let_go.wait()
        return ignoring(request)

    with ExitStack() as stack:
        stack.callback(let_go.set)
        first = stack.enter_context(started(job)).ready()
        train(job, 1)
        until(lambda: job.head().round == 1)
        waiting = stack.enter_context(started(other))
        until(lambda: "is held by" in told(other))
        proxy.fault = late
        train(job, 2)
        assert held.wait(PATIENCE_S)
        first.process.send_signal(signal.SIGSTOP)
        stack.callback(first.process.send_signal, signal.SIGCONT)
        waiting.ready()
        until(lambda: job.head().round == 2)
        after = job.store.head(job.layout.head)
        let_go.set()
        first.process.send_signal(signal.SIGCONT)
        assert first.wait() == Exit.SUPERSEDED
        assert job.store.head(job.layout.head) == after, "the late write was refused"
        run_sites(other)
    assert [commit.epoch for commit in job.commits()] == [1, 1, 2, 2]
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed(tmp_path / "undisturbed")
    assert holder(api, job) == "", "given up at the end"


@pytest.mark.apiserver
def test_of_two_at_once_one_writes_and_the_other_follows_when_that_has_ended(tmp_path, proxy, api, namespace):
    job = on_cluster(proxy, tmp_path / "first", api, namespace)
    folders = job, second(job, tmp_path / "second")
    folders[1].write_initial(save(small_model()))
    with ExitStack() as stack:
        both = [stack.enter_context(started(each)) for each in folders]
        until(lambda: any("is held by" in told(each) for each in folders))
        (late,) = (number for number, each in enumerate(folders) if "is held by" in told(each))
        both[1 - late].ready()
        assert "is held by" in told(folders[late])
        both[1 - late].process.send_signal(signal.SIGTERM)
        assert both[1 - late].wait() == Exit.OK
        both[late].ready()
        run_sites(folders[late])
    assert [commit.epoch for commit in job.commits()] == [1, 2, 2, 2]
    assert len(commits(job)) == 4, "none beside the chain"
    assert json.loads(job.store.get(job.layout.head))["epoch"] == 2


def test_without_a_cluster_a_locked_file_decides(tmp_path, proxy):
    job = fenced(proxy, tmp_path / "first")
    other = second(job, tmp_path / "second")
    other.extra_env = {names.ENV_STATUS: f"file:{job.root / 'status.json'}"}
    with Aggregator(job).ready() as first, Aggregator(other) as waiting:
        until(lambda: "has locked" in told(other))
        assert (job.root / solewriter.LOCK_FILE).is_file()
        first.process.send_signal(signal.SIGKILL)
        waiting.ready()
        run_sites(other)
    assert {commit.epoch for commit in job.commits()} == {1, 2}
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed(tmp_path / "undisturbed")
