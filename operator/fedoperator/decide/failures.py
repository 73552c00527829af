"""Policy: containers that ended badly. Names the reason, and budgets a site's failures per round.

A fatal exit code fails a Job at once (podFailurePolicy). Other failures count from the start of the round: a site
over its budget rests until the next one has begun, and the aggregator does not wait for it. Before the first round,
and past a round's deadline, no next round can be relied on: then a resting site is tried again `site_retry_s` after
its last failure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fedapi import outcome
from fedapi.outcome import Exit
from fedoperator.decide.facts import Trouble, clipped, instant
from fedoperator.decide.reasons import Reason
from fedoperator.decide.scene import Scene
from fedoperator.decide.view import JobView, PodView, Termination

_EXIT_CODE = re.compile(r"exit code (\d+)")
_OOM = "killed for using more memory than its limit: raise the memory limit (resources) or lower training.batchSize"


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
    return pod.ended is not None and pod.ended.code != Exit.OK and not pod.disrupted and not pod.deleting


def _newest_failure(scene: Scene, job: JobView) -> PodView | None:
    pods = [pod for pod in scene.pods_of(job.name) if failed(pod)]
    return max(pods, key=lambda pod: pod.ended.finished if pod.ended else pod.created, default=None)


def job_failure(scene: Scene, job: JobView, default: Reason = Reason.JOB_FAILED) -> Trouble | None:
    """Why a Job failed for good: from its newest failed pod, else from the Job's own condition."""
    if not job.failed:
        return None
    pod = _newest_failure(scene, job)
    if pod and pod.ended:
        reason, message = _told(pod.ended)
        return Trouble(reason, clipped(message), fatal=True)
    code = _EXIT_CODE.search(job.message)
    return Trouble(outcome.reason(int(code[1])) if code else default, clipped(job.message), fatal=True)


def site_failure(scene: Scene, client: str) -> Trouble | None:
    """Why a site's Job failed for good, with the way out."""
    job = scene.job_of(client)
    found = job_failure(scene, job) if job else None
    if job is None or found is None:
        return None
    way_out = f" (mend it, then delete Job {job.name} to run the site again)"
    return Trouble(found.reason, clipped(found.message, 1024 - len(way_out)) + way_out, fatal=True)


def last_failure(scene: Scene, job: JobView) -> Trouble | None:
    """The newest failure that is retried; None once a newer pod is ready or has ended well."""
    pods = [pod for pod in scene.pods_of(job.name) if not pod.deleting]
    newest = next((pod for pod in reversed(pods) if failed(pod) or pod.ready or pod.phase == "Succeeded"), None)
    if newest is None or newest.ended is None or not failed(newest):
        return None
    reason, message = _told(newest.ended)
    return Trouble(reason, clipped(message))


def _round(scene: Scene) -> tuple[datetime | None, datetime | None]:
    """Start and deadline of the round under way; (None, None) when none is."""
    status = scene.status.round
    if status is None or status.start_time is None:
        return None, None
    end = instant(status.deadline) if status.deadline else None
    return (None, None) if end and scene.now >= end else (instant(status.start_time), end)


def rest(scene: Scene, job: JobView) -> Rest | None:
    """Whether a site's Job has used up its failures, and until when it rests."""
    begin, end = _round(scene)
    pods = [pod for pod in scene.pods_of(job.name) if failed(pod)]
    times = sorted(pod.ended.finished for pod in pods if pod.ended)
    counted = [at for at in times if begin is None or at >= begin]
    if len(counted) < max(1, scene.observed.settings.pod_failures_per_round):
        return None
    if begin is not None:
        return Rest(len(counted), end)
    again = counted[-1] + timedelta(seconds=scene.observed.settings.site_retry_s)
    return Rest(len(counted), again) if scene.now < again else None


def aggregator_failure(scene: Scene) -> Trouble | None:
    """Why the aggregator ended and is not ready again, for example a full store volume."""
    pod = next((pod for pod in reversed(scene.aggregator_pods) if not pod.deleting), None)
    ended = (pod.ended or pod.previous) if pod and not pod.ready else None
    if ended is None or ended.code in (Exit.OK, Exit.SUPERSEDED):
        return None
    reason, message = _told(ended)
    way_out = ": enlarge the volume claim or free space on it" if ended.code == Exit.STORE_FAILED else ""
    return Trouble(reason, clipped(f"{message}{way_out}"))


def due(scene: Scene) -> Iterator[datetime]:
    """When resting sites are let run again by the clock alone."""
    for job in scene.training_jobs:
        resting = rest(scene, job)
        if resting and resting.until:
            yield resting.until
