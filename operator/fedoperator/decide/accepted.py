"""Policy: can the job be acted on? The spec is readable and selects at least one site."""

from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Observed
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason


def refused(observed: Observed) -> Fact:
    """The spec could not be read."""
    return Fact("False", Reason.INVALID_SPEC, clipped(observed.invalid))


def accepted(context: JobContext) -> Fact:
    """Whether the job is accepted. A job that has started goes on without sites, and says so."""
    if context.sites:
        return Fact("True", Reason.ACCEPTED, "the spec is valid and selects sites")
    return Fact(
        "False",
        Reason.NO_MATCHING_SITES,
        "spec.clients.selector matches no FLClient of this namespace: create one, or correct its labels or the selector",
    )
