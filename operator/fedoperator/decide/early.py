"""Policy: Jobs that are complete without what they were made for, whatever the user's image did (sys.exit(0), say).

A training Job lives as long as the FederatedJob, or with lifetime Round until its site's update is in. The init Job
ends once the aggregator has the model. A complete Job is looked at again after a grace, by which everybody who knows better has said so.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from fedoperator.decide import pending
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import JobView

GRACE = timedelta(seconds=60)  # for the aggregator's word (an update, an outcome, a model) to reach the status
_OWES = frozenset({"Training", "Waiting"})  # states of a site that has sent no update in this attempt


def _settled(context: JobContext, job: JobView) -> bool:
    return job.complete and job.completed is not None and context.now >= job.completed + GRACE


def training(context: JobContext, client: str) -> Trouble | None:
    """That a site's training Job ended well and the site still owes its update."""
    job = context.job_of(client)
    if job is None or context.status.outcome is not None or not _settled(context, job) or not _owes(context, job):
        return None
    message = (
        f"{job.kind} {job.name} is complete, but the site's update is missing: the task's code may have ended the "
        f"process, as sys.exit() does (mend it, then delete {job.kind} {job.name} to run the site again)"
    )
    return Trouble(Reason.ENDED_EARLY, clipped(message))


def _owes(context: JobContext, job: JobView) -> bool:
    if not job.step:
        return True
    plan = context.status.round
    at_training = plan is not None and plan.step == "Train" and job.step == context.step.name
    return at_training and context.state_of(job.client) in _OWES


def _init_since(context: JobContext) -> tuple[JobView, datetime] | None:
    """The init Job that is complete, and since when a running aggregator has looked for its model in vain."""
    if context.status.model is not None or context.spec.suspend:
        return None
    name = context.wanted_init["metadata"]["name"]
    done = next((job for job in context.init_jobs if job.name == name and job.complete and job.completed), None)
    looks = [p for p in context.aggregator_pods if p.phase == "Running" and p.running_since and not p.deleting]
    if done is None or done.completed is None or not looks:
        return None
    return done, max(done.completed, *(pod.running_since for pod in looks if pod.running_since))


def init(context: JobContext) -> Trouble | None:
    """That the init Job is complete and there is no model. Overdue: for longer than spec.pendingDeadline."""
    found = _init_since(context)
    if found is None or context.now < found[1] + GRACE:
        return None
    job, since = found
    message = (
        f"Job {job.name} is complete, but the aggregator has no model: the store may have been emptied or put back; "
        f"see kubectl logs job/{job.name}, then delete Job {job.name} to have the model made again"
    )
    overdue = context.now >= since + max(GRACE, pending.deadline(context))
    return Trouble(Reason.INIT_MODEL_MISSING, clipped(message), overdue=overdue)


def due(context: JobContext) -> Iterator[datetime]:
    """When a complete Job is looked at again by the clock alone."""
    yield from (job.completed + GRACE for job in context.training_jobs if job.complete and job.completed)
    if found := _init_since(context):
        yield found[1] + GRACE
        yield found[1] + max(GRACE, pending.deadline(context))
