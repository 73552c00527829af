"""Policy: can the job be acted on? The spec is readable, and selects sites, but no more than a job can have."""

from fedapi.wire.roster import MAX_SITES, MAX_STRATA
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Observed
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.strata import all_strata


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
    if (many := len(all_strata(context))) > MAX_STRATA:
        message = (
            f"spec.clients.stratified tells {many} strata of the {len(context.trainees)} sites apart, and a job has at most "
            f"{MAX_STRATA}: choose fields or labels with fewer values"
        )
        return Fact("False", Reason.TOO_MANY_STRATA, message)
    if context.trainees:
        return Fact("True", Reason.ACCEPTED, "the spec is valid and selects sites")
    if context.sites:
        return Fact(
            "False",
            Reason.NO_MATCHING_SITES,
            f"spec.evaluation.heldOut.selector holds all {len(context.sites)} sites out, so that none trains: narrow it, or create others",
        )
    return Fact(
        "False",
        Reason.NO_MATCHING_SITES,
        "spec.clients.selector matches no FLClient of this namespace: create one, or correct its labels or the selector",
    )
