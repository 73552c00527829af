"""Policy: a changed template means a new Job. Two Jobs of one site never run pods side by side.

The old Job is deleted when the site does not work on the round under way, or when that round has only just begun:
between two rounds a site may be at rest for so short a time that nobody sees it, and a change has to act at the next
round all the same. The new Job is made when the old one and its pods are gone. Sites that no longer belong to the job
go when their round is over, and so do Jobs of an earlier step of the plan: what they work on is void. One that has
ended is in nobody's way.
"""

from datetime import timedelta

from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import instant
from fedoperator.decide.queues import held_back
from fedoperator.decide.view import JobView

JUST_BEGUN = timedelta(seconds=10)  # so much work of a site may be thrown away for a changed template


def in_training(context: JobContext, job: JobView) -> bool:
    """Whether deleting or suspending the Job would throw away work of the round under way."""
    timely = job.step in ("", context.step.name) and context.holds_keys(job)  # else the aggregator does not know it
    return timely and job.running and not job.deleting and context.in_round(job.client) and not context.spec.suspend


def _just_begun(context: JobContext) -> bool:
    """Whether the round under way is so young that little is lost when a site begins it anew."""
    begun = context.status.round.start_time if context.status.round else None
    return begun is not None and context.now < instant(begun) + JUST_BEGUN


def _spared(context: JobContext, job: JobView) -> bool:
    """Whether a Job whose template is not the wanted one stays for now."""
    return in_training(context, job) and not (job.client in context.wanted and _just_begun(context))


def _stale(context: JobContext, client: str) -> list[JobView]:
    wanted = context.wanted.get(client)
    return [
        job for job in context.jobs_of(client) if not wanted or job.deleting or job.name != wanted["metadata"]["name"]
    ]


def _in_the_way(context: JobContext, client: str, stale: list[JobView]) -> bool:
    """Whether the new Job has to wait for old ones: those that may still run a pod, or have its name."""
    name = context.wanted[client]["metadata"]["name"]
    return any(not job.finished or job.name == name for job in stale)


def _leftovers(context: JobContext, client: str) -> bool:
    """Whether pods of a Job that is not the wanted one still run at the site."""
    name = context.wanted[client]["metadata"]["name"]
    return any(pod.job != name and not pod.finished for pod in context.pods_at(client))


def busy(context: JobContext, client: str) -> bool:
    """Whether an old Job of the site stays until the round under way is over."""
    return any(_spared(context, job) for job in _stale(context, client))


def waits(context: JobContext, client: str) -> bool:
    """Whether the site's new Job has to wait: the old Job or its pods are still going."""
    manifest = context.wanted.get(client)
    if manifest is None or held_back(context, manifest):
        return False
    in_the_way = _in_the_way(context, client, _stale(context, client))
    return in_the_way or (context.job_of(client) is None and _leftovers(context, client))


def jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The training Jobs to apply now."""
    return _applied(context, "Job")


def jobsets(context: JobContext) -> tuple[JsonView, ...]:
    """The JobSets to apply now."""
    return _applied(context, "JobSet")


def _applied(context: JobContext, kind: str) -> tuple[JsonView, ...]:
    found = ((client, manifest) for client, manifest in context.wanted.items() if manifest["kind"] == kind)
    return tuple(m for client, m in found if not (held_back(context, m) or waits(context, client)))


def kept(context: JobContext, live: JsonView) -> bool:
    """Whether a training Job that is not applied now stays: it is the wanted one, or has work that is worth keeping."""
    job = JobView.of(live)
    wanted = context.wanted.get(job.client)
    return (wanted is not None and wanted["metadata"]["name"] == job.name) or _spared(context, job)
