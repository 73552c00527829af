"""Policy: the phase, one word for the eye, derived from the same facts as the conditions. Nothing reads it back."""

from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Ending
from fedoperator.decide.progress import in_rounds
from fedoperator.decide.reasons import Phase


def phase(context: JobContext, ending: Ending | None) -> Phase:
    """The phase of a job."""
    if ending is not None:
        return Phase.COMPLETE if ending.complete else Phase.FAILED
    if context.spec.suspend:
        return Phase.SUSPENDED
    if in_rounds(context):
        return Phase.RUNNING
    if any(job.running for job in context.restore_jobs):
        return Phase.INITIALIZING
    if not any(pod.phase == "Running" for pod in context.aggregator_pods):
        return Phase.PENDING
    return Phase.WAITING if context.initialized else Phase.INITIALIZING
