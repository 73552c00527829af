"""Policy: containers that ended badly. Names the reason, and budgets a site's failures per round.

A fatal exit code of any worker fails a Job at once (podFailurePolicy). Other failures count from the start of the
round, those of the worker that failed most; one that only lost its peers has not failed. A site over its budget rests
until the next round has begun, and the aggregator does not wait for it. Before the first round, and past a round's
deadline, no next round can be relied on: then a resting site is tried again `site_retry_s` after its last failure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fedapi import outcome
from fedapi.outcome import Exit
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Trouble, clipped, instant
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import JobView, PodView, Termination

_EXIT_CODE = re.compile(r"exit code (\d+)")
_OOM = "killed for using more memory than its limit: raise the memory limit (resources) or lower training.batchSize"
_WAY_OUT: Mapping[int, str] = {
    Exit.STATUS_REFUSED: ": look for what takes the aggregator's ServiceAccount, Role or RoleBinding its rights",
}


@dataclass(frozen=True)
class Rest:
    """A site over its failure budget, and until when (None: until the next round)."""

    failures: int
    until: datetime | None


def _told(ended: Termination) -> tuple[str, str]:
    """Reason and message of an ended container."""
    if ended.reason == Reason.OOM_KILLED:
        return Reason.OOM_KILLED, _OOM
    return outcome.reason(ended.code), ended.message or f"ended with exit code {ended.code}"


def failed(pod: PodView) -> bool:
    """Whether a pod ended badly by its own fault: not by a node's disruption, not because somebody deleted it."""
    if pod.ended is None or pod.disrupted or pod.deleting:
        return False
    return pod.ended.code not in (Exit.OK, *outcome.IGNORED)


def _decisive_failure(context: JobContext, job: JobView) -> tuple[PodView, Termination] | None:
    """The failed pod that tells why its Job failed: the first with a fatal code, else the newest."""
    ended = _by_end(context.pods_of(job.name))
    fatal = [(pod, last) for pod, last in ended if last.code in outcome.FATAL]
    return fatal[0] if fatal else ended[-1] if ended else None


def _by_end(pods: Iterable[PodView]) -> list[tuple[PodView, Termination]]:
    """The pods that failed with how they ended, the first one first."""
    ended = [(pod, pod.ended) for pod in pods if pod.ended and failed(pod)]
    return sorted(ended, key=lambda entry: (entry[1].finished, entry[0].name))


def _trouble(context: JobContext, pod: PodView, ended: Termination, *, fatal: bool = False) -> Trouble:
    """A failed pod as a trouble; of a ring with several workers it says which."""
    reason, message = _told(ended)
    several = bool(pod.client) and context.workers(pod.client) > 1
    return Trouble(reason, clipped(f"worker {pod.worker}: {message}" if several else message), fatal=fatal)


def job_failure(context: JobContext, job: JobView, default: Reason = Reason.JOB_FAILED) -> Trouble | None:
    """Why a Job failed for good: from the pod that decided it, else from the Job's own condition."""
    if not job.failed:
        return None
    found = _decisive_failure(context, job)
    if found:
        return _trouble(context, *found, fatal=True)
    code = _EXIT_CODE.search(job.message)
    return Trouble(outcome.reason(int(code[1])) if code else default, clipped(job.message), fatal=True)


def site_failure(context: JobContext, client: str) -> Trouble | None:
    """Why a site's Job failed for good, with the way out."""
    job = context.job_of(client)
    found = job_failure(context, job) if job else None
    if job is None or found is None:
        return None
    way_out = f" (mend it, then delete {job.kind} {job.name} to run the site again)"
    return Trouble(found.reason, clipped(found.message, 1024 - len(way_out)) + way_out, fatal=True)


def last_failure(context: JobContext, job: JobView) -> Trouble | None:
    """The newest failure that is retried; None once a newer pod of that worker is ready or has ended well."""
    newest: dict[int, PodView] = {}
    for pod in context.pods_of(job.name):  # oldest first
        if not pod.deleting and (failed(pod) or pod.ready or pod.phase == "Succeeded"):
            newest[pod.worker] = pod
    failures = _by_end(newest.values())
    return _trouble(context, *failures[-1]) if failures else None


def _round(context: JobContext) -> tuple[datetime | None, datetime | None]:
    """Start and deadline of the round under way; (None, None) when none is."""
    status = context.status.round
    if status is None or status.start_time is None:
        return None, None
    end = instant(status.deadline) if status.deadline else None
    return (None, None) if end and context.now >= end else (instant(status.start_time), end)


def _worst_worker(context: JobContext, job: JobView, begin: datetime | None) -> list[datetime]:
    """When the worker with the most failures failed, in order: what ends all of a ring's pods at once counts once."""
    times: dict[int, list[datetime]] = {}
    for pod in context.pods_of(job.name):
        if failed(pod) and pod.ended and (begin is None or pod.ended.finished >= begin):
            times.setdefault(pod.worker, []).append(pod.ended.finished)
    _, worst = max(((len(each), each) for each in times.values()), default=(0, []))
    return sorted(worst)


def rest(context: JobContext, job: JobView) -> Rest | None:
    """Whether a site's Job has used up its failures, and until when it rests."""
    begin, end = _round(context)
    counted = _worst_worker(context, job, begin)
    if len(counted) < max(1, context.observed.settings.pod_failures_per_round):
        return None
    if begin is not None:
        return Rest(len(counted), end)
    again = counted[-1] + timedelta(seconds=context.observed.settings.site_retry_s)
    return Rest(len(counted), again) if context.now < again else None


def aggregator_failure(context: JobContext) -> Trouble | None:
    """Why the aggregator ended and is not ready again, for example a full store volume."""
    pod = next((pod for pod in reversed(context.aggregator_pods) if not pod.deleting), None)
    ended = (pod.ended or pod.previous) if pod and not pod.ready else None
    if ended is None or ended.code in (Exit.OK, Exit.SUPERSEDED):
        return None
    reason, message = _told(ended)
    return Trouble(reason, clipped(f"{message}{_WAY_OUT.get(ended.code, '')}"))


def due(context: JobContext) -> Iterator[datetime]:
    """When resting sites are let run again by the clock alone."""
    for job in context.training_jobs:
        resting = rest(context, job)
        if resting and resting.until:
            yield resting.until
