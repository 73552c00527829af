"""Policy: which Jobs run. All are created suspended; the init Job is let go when the aggregator is ready.

Training Jobs are let go when there is an initial model, too. They are stopped again when the job is suspended or has ended, when the site is paused (not in mid-round) or rests.
An aggregator that restarts stops nobody. A Job that a queue admits is never touched. With training.lifetime Round a
Job that runs is at work on its round, and one of a paused site that has not started does not start.
"""

from collections.abc import Collection, Mapping

from fedapi import names
from fedoperator.decide import store
from fedoperator.decide.context import JobContext
from fedoperator.decide.failures import rest
from fedoperator.decide.replacement import in_training
from fedoperator.decide.view import JobView


def _training(context: JobContext, job: JobView) -> bool | None:
    """What `suspend` of a training Job should be; None: as it is."""
    site = next((site for site in context.sites if site.name == job.client), None)
    if site is None:
        return None
    if site.barred and not context.by_round:
        return None if in_training(context, job) else True
    if rest(context, job):
        return True
    if site.barred:
        return None
    return False if context.aggregator_ready and context.initialized and not store.lost(context) else None


def _wanted(context: JobContext, job: JobView) -> bool | None:
    if context.spec.suspend:
        return True
    if job.role == names.ROLE_TRAINER:
        return _training(context, job)
    if job.role == names.ROLE_INIT:
        return False if context.aggregator_ready else None
    return None  # a label that was taken off comes back first


def gate(context: JobContext, deleted: Collection[str]) -> Mapping[str, bool]:
    """Job name -> spec.suspend, only where it has to change. `deleted`: Jobs that are deleted anyway."""
    jobs = [job for job in context.jobs if not (job.finished or job.deleting or job.queued or job.name in deleted)]
    wanted = {job.name: _wanted(context, job) for job in jobs}
    return {job.name: flag for job in jobs if (flag := wanted[job.name]) is not None and flag != job.suspended}


def closed(context: JobContext) -> Mapping[str, bool]:
    """The gate after the end: everything that still runs stops."""
    return {job.name: True for job in context.jobs if job.running and not job.deleting and not job.queued}
