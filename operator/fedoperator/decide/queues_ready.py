"""Policy: the QueuesReady condition of a job with `spec.events`: from what its aggregator says of its queues."""

from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact
from fedoperator.decide.reasons import Reason


def fact(context: JobContext) -> Fact | None:
    """The condition; None: the job has no queues. Rounds go on without them, so nothing else is false with it."""
    if context.spec.events is None:
        return None
    if context.status.outcome is not None:
        return Fact("Unknown", Reason.FINISHED, "the job has ended: nobody uses the queues")
    if context.status.queue_trouble and context.aggregator_pods:
        return Fact("False", Reason.QUEUES_FAILING, context.status.queue_trouble)
    if context.aggregator_ready:
        return Fact("True", Reason.READY, f"the aggregator uses {context.spec.events.place().text()}")
    return Fact("Unknown", Reason.STARTING, "the aggregator is not ready yet")
