"""Policy: which Jobs run. All are created suspended; the init Job is let go when the aggregator is ready.

Training Jobs are let go when there is an initial model, too. They are stopped again when the job is suspended or has ended, when the site is paused (not in mid-round) or rests.
Restores and backups run whether the aggregator is ready or not. An aggregator that restarts stops nobody. A Job that a queue admits is never touched. With training.lifetime Round a
Job that runs is at work on its round, and one of a paused site that has not started does not start.
"""

from collections.abc import Collection, Iterator, Mapping

from fedapi import names
from fedoperator.decide import store
from fedoperator.decide.context import JobContext
from fedoperator.decide.failures import rest
from fedoperator.decide.replacement import in_training
from fedoperator.decide.view import JobView

_LASTING = (names.ROLE_BACKUP, names.ROLE_VERIFY)
_OF_STORES = (names.ROLE_RESTORE, *_LASTING)  # roles of Jobs that need no aggregator


def _training(context: JobContext, job: JobView) -> bool | None:
    """What `suspend` of a training Job should be; None: as it is."""
    site = context.site(job.client)
    if site is None:
        return None
    if site.barred and not context.by_round:
        return None if in_training(context, job) else True
    if rest(context, job):
        return True
    if site.barred:
        return None
    return False if context.aggregator_ready and context.initialized and not store.lost(context) else None


def _wanted(context: JobContext, role: str, job: JobView) -> bool | None:
    if context.spec.suspend:
        return True
    if role == names.ROLE_TRAINER:
        return _training(context, job)
    return False if role in _OF_STORES or context.aggregator_ready else None


def _jobs(context: JobContext) -> Iterator[tuple[str, JobView]]:
    """The Jobs that the operator starts and stops, with their roles. A label that was taken off comes back first."""
    for role in (names.ROLE_INIT, names.ROLE_TRAINER, *_OF_STORES):
        yield from ((role, job) for job in context.jobs.get(role, ()) if not (job.deleting or job.queued))


def gate(context: JobContext, deleted: Collection[str]) -> Mapping[str, bool]:
    """Job name -> spec.suspend, only where it has to change. `deleted`: Jobs that are deleted anyway."""
    jobs = [(role, job) for role, job in _jobs(context) if not (job.finished or job.name in deleted)]
    wanted = ((job, _wanted(context, role, job)) for role, job in jobs)
    return {job.name: flag for job, flag in wanted if flag is not None and flag != job.suspended}


def closed(context: JobContext) -> Mapping[str, bool]:
    """The gate after the end: everything that still runs stops, but for backups, which begin even now."""
    ended = {job.name: True for role, job in _jobs(context) if job.running and role not in _LASTING}
    return ended | lasting(context)


def lasting(context: JobContext) -> dict[str, bool]:
    """Backups whose `suspend` has to change."""
    found = [job for role in _LASTING for job in context.jobs.get(role, ()) if not (job.deleting or job.finished)]
    return {job.name: context.spec.suspend for job in found if job.suspended != context.spec.suspend}
