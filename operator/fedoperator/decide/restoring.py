"""Policy: the backup that a new job begins with. A Job puts it into the store; the aggregator starts when that is done."""

from fedapi.jsonvalue import JsonView
from fedoperator.decide import failures, pending, podless
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.desired.restore_job import restore_job


def _wanted(context: JobContext) -> JsonView | None:
    job, restore = context.observed.job, context.spec.restore_from
    if restore is None:
        return None
    return restore_job(job, restore, context.hub_image, context.observed.settings.keys_id)


def jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The restore Job; none once the store is filled, or while an old one is in the way."""
    wanted = _wanted(context)
    if wanted is None or context.restored:
        return ()
    name = wanted["metadata"]["name"]
    old = any(job.name != name or job.deleting for job in context.restore_jobs)
    return () if old or (context.spec.suspend and not context.restore_jobs) else (wanted,)


def kept(context: JobContext, job: JsonView) -> bool:
    """Whether a live restore Job stays: it is the wanted one, or the record of what was restored."""
    wanted = _wanted(context)
    return context.restored or (wanted is not None and job["metadata"]["name"] == wanted["metadata"]["name"])


def failure(context: JobContext) -> Trouble | None:
    """Why the backup cannot be restored."""
    wanted = _wanted(context)
    if wanted is None or context.restored:
        return None
    live = next((job for job in context.restore_jobs if job.name == wanted["metadata"]["name"]), None)
    return failures.job_failure(context, live, Reason.RESTORE_FAILED) if live else None


def fact(context: JobContext) -> Fact | None:
    """The Restored condition; None: the job begins with a model of its own."""
    restore = context.spec.restore_from
    if restore is None:
        return None
    if context.restored:
        return Fact("True", Reason.RESTORED, f"the store holds what was in backup {restore.backup}")
    if found := failure(context) or _stuck(context):
        return Fact("False", found.reason, found.message)
    running = next((job.name for job in context.restore_jobs if job.running), None)
    if running is None:
        return Fact("False", Reason.STARTING, "the restore Job is being made")
    message = (
        f"Job {running} copies backup {restore.backup} into the store: kubectl logs job/{running} shows how far it is"
    )
    return Fact("False", Reason.RESTORING, clipped(message))


def _stuck(context: JobContext) -> Trouble | None:
    for job in context.restore_jobs:
        waiting = (pending.trouble(context, pod) for pod in context.pods_of(job.name))
        if found := podless.job(context, job.name) or next((each for each in waiting if each), None):
            return found
    return None
