"""Policy: can the job be acted on? The spec is readable, and selects sites, but no more than a job can have."""

from fedapi.wire.job import MAX_SITES
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Observed
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason


def refused(observed: Observed) -> Fact:
    """The spec could not be read."""
    return Fact("False", Reason.INVALID_SPEC, clipped(observed.invalid))


def accepted(context: JobContext) -> Fact:
    """Whether the job is accepted. One that has started goes on without sites, or with its oldest ones, and says so."""
    if (many := context.matching) > MAX_SITES:
        message = (
            f"spec.clients.selector matches {many} FLClients, and a job takes at most {MAX_SITES}: narrow the selector, "
            "or split the sites over several jobs"
        )
        return Fact("False", Reason.TOO_MANY_SITES, message)
    if context.sites:
        return Fact("True", Reason.ACCEPTED, "the spec is valid and selects sites")
    return Fact(
        "False",
        Reason.NO_MATCHING_SITES,
        "spec.clients.selector matches no FLClient of this namespace: create one, or correct its labels or the selector",
    )
