"""From a fact to the status that tells it, p95 over all facts: the operator's leaves and the aggregator's.

The operator's, on the fleet's API server with 120 jobs: a Deployment loses and regains its ready pod, a training Job
fails, a site is paused, a job ends, a job is suspended. Clock: from just before
the fact is written until a watch of the bench hears of the status. The aggregator's: from `committed_at` of a round's
commit record until the status shows the round; on the local cluster if it is up, else in the embedded runner's file.
The peer is an annotation that comes back through the same watch: what the API server alone takes.
"""

from collections.abc import Callable
from time import monotonic

from fedapi import names
from fedapi.jsonvalue import Json
from tests.bench import actors, audit, commit_lag
from tests.bench.bench import Bench
from tests.bench.fleet import NAMESPACE, SITES, Fleet
from tests.bench.kube import path
from tests.bench.rows import Row, percentile
from tests.cluster.errors import CannotRunError

BARE = 60
MENDED = "Pod failed with exit code 12 matching FailJob rule"


def measure(bench: Bench) -> Row:
    """The row."""
    fleet, late = bench.fleet, bench.running
    lags = {
        "aggregator lost": [_aggregator(fleet, job, ready=False) for job in late],
        "aggregator ready": [_aggregator(fleet, job, ready=True) for job in late],
        "training Job failed": [_job_failed(fleet, job) for job in late],
        "site paused": [_site_paused(fleet, f"site-{number}") for number in range(SITES)],
        "job ended": [_ended(fleet, job) for job in late[::2]],
        "job suspended": [_suspended(fleet, job) for job in late[1::2]],
        "round committed": _committed(bench),
    }
    for what, values in lags.items():
        print(
            f"   {what}: median {percentile(values, 0.5):.3f} s, p95 {percentile(values, 0.95):.3f} s, n={len(values)}"
        )
    everything = [value for values in lags.values() for value in values]
    peer = percentile([_bare(fleet, late[0], number) for number in range(BARE)], 0.95)
    return Row("status_lag_p95_s", percentile(everything, 0.95), "s", peer)


def _committed(bench: Bench) -> list[float]:
    """On the local cluster where this machine can run one, else in the embedded runner's status file."""
    try:
        return bench.on_cluster.lags
    except CannotRunError:
        return commit_lag.embedded_lags(bench.folder("commit-lag"))


def _lag(fleet: Fleet, job: str, act: Callable[[], object], fact: Callable[[Json], bool]) -> float:
    since, started = len(fleet.jobs.events), monotonic()
    act()
    return fleet.jobs.first(since, job, fact) - started


def _condition(type_: str, status: str) -> Callable[[Json], bool]:
    return lambda job: any(
        c["type"] == type_ and c["status"] == status for c in job.get("status", {}).get("conditions", ())
    )


def _site(name: str, fact: Callable[[Json], bool]) -> Callable[[Json], bool]:
    return lambda job: any(s["name"] == name and fact(s) for s in job.get("status", {}).get("sites", ()))


def _aggregator(fleet: Fleet, job: str, *, ready: bool) -> float:
    deployment = actors.owned(fleet, "Deployment", [job])[0]
    act = lambda: actors.aggregator_ready(fleet, deployment, ready=ready)  # noqa: E731
    return _lag(fleet, job, act, _condition("AggregatorReady", str(ready)))


def _job_failed(fleet: Fleet, job: str) -> float:
    body = next(
        each
        for each in actors.owned(fleet, "Job", [job], names.ROLE_TRAINER)
        if each["metadata"]["labels"][names.LABEL_CLIENT] == "site-0"
    )
    act = lambda: actors.job_ended(fleet, body, "Failed", MENDED, failed=1)  # noqa: E731
    return _lag(fleet, job, act, _site("site-0", lambda entry: entry.get("reason") == "DataMissing"))


def _site_paused(fleet: Fleet, name: str) -> float:
    """Seen in the site's own conditions; all jobs of the site are looked at meanwhile, so the next one waits for rest."""
    since, started = len(fleet.clients.events), monotonic()
    fleet.kube.patch(path(names.CLIENT_KIND, NAMESPACE, name), {"spec": {"paused": True}})
    lag = fleet.clients.first(since, name, _condition("Ready", "False")) - started
    audit.quiet(fleet.kube.cluster.audit_log)
    return lag


def _ended(fleet: Fleet, job: str) -> float:
    ended = {"result": "Succeeded", "reason": "RoundsDone", "message": "20 rounds", "time": actors.stamp()}
    body = fleet.jobs.latest[job]
    act = lambda: fleet.kube.outcome(body, outcome=ended, **actors.between_rounds(20))  # noqa: E731
    return _lag(fleet, job, act, _condition("Complete", "True"))


def _suspended(fleet: Fleet, job: str) -> float:
    act = lambda: fleet.kube.patch(path(names.JOB_KIND, NAMESPACE, job), {"spec": {"suspend": True}})  # noqa: E731
    return _lag(fleet, job, act, _condition("Suspended", "True"))


def _bare(fleet: Fleet, job: str, number: int) -> float:
    note = {"bench": str(number)}
    act = lambda: fleet.kube.patch(path(names.JOB_KIND, NAMESPACE, job), {"metadata": {"annotations": note}})  # noqa: E731
    return _lag(fleet, job, act, lambda body: body["metadata"].get("annotations", {}).get("bench") == str(number))
