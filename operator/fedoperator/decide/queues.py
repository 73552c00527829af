"""Policy: training Jobs that a queue (Kueue) admits: it alone sets their `suspend`, and what it decides is mirrored.

Kueue starts a Job that it has admitted again when somebody else suspends it. So while the FederatedJob is suspended,
and after its end, these Jobs are deleted: their Workloads go with them, which frees the quota. After a resume they
are made anew and queue again; a site's checkpoints are on its state volume.
"""

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import labels


def held_back(context: JobContext, manifest: JsonView) -> bool:
    """Whether a Job is not made now, because its queue would start it."""
    return context.spec.suspend and names.LABEL_QUEUE in labels(manifest)


def withdrawn(context: JobContext) -> tuple[Key, ...]:
    """The Jobs that leave their queue: those that run or may be started."""
    return tuple(job.key for job in context.training_jobs if job.queued and not (job.finished or job.deleting))


def admitted_fact(context: JobContext) -> Fact | None:
    """The QueueAdmitted condition; None where no training Job is a queue's."""
    jobs = [job for job in context.training_jobs if job.queued and not job.deleting]
    if not jobs:
        return None
    waiting = sorted({job.client for job in jobs if job.suspended and not job.finished})
    if waiting:
        message = f"{len(waiting)} of {len(jobs)} training Jobs wait for their queue: {', '.join(waiting)}"
        return Fact("False", Reason.AWAITING_QUEUE, clipped(message))
    return Fact("True", Reason.ADMITTED, f"the queue has admitted all of {len(jobs)} training Jobs")
