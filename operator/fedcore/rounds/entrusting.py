"""Whether the state that a site would entrust to the hub is taken, and where it goes. Pure; called by fedaggregator.requests.

The hub cannot read what it keeps: it is encrypted by the site. So all that can be said is whose, of which update and how large.
"""

from fedapi.wire.entrusted import EntrustRequest, RecallRequest
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedapi.wire.storekey import EntrustedKey
from fedcore.rounds import admission, window
from fedcore.rounds.sites import Contribution
from fedcore.rounds.state import State

MODELS = 4  # a state may be so many times the model: residuals, controls, personal layers and moments of an optimizer
EXTRA_BYTES = 1 << 20  # and names, padding and tags


def admitted(state: State, client: str, request: EntrustRequest) -> Refusal | ObjectRef:
    """Where the state goes: of an update that may count, before it is handed in, or of the last one that was committed."""
    late = committed(state, client, request)
    refusal = None if late else admission.misplaced(state, client, request.round, request.attempt)
    if refusal is not None:
        return refusal
    if state.tip is None:
        return Refusal(code="StaleRound", message="there is no model yet: ask next")
    if request.size > (limit := MODELS * state.tip.model.size + EXTRA_BYTES):
        message = f"size {request.size} is over {limit} bytes, {MODELS} times the model: keep less in ctx.state"
        return Refusal(code="TooLarge", message=message)
    update = (request.round, request.attempt, request.update_sha256)
    key = state.layout.entrusted_state(client, *update, request.sha256)
    return ObjectRef(key=key, sha256=request.sha256, size=request.size)


def committed(state: State, client: str, update: RecallRequest | EntrustedKey) -> bool:
    """Whether that is the site's last committed update."""
    return state.site(client).committed == Contribution(update.round, update.attempt, update.update_sha256)


def needed(state: State, client: str, update: EntrustedKey) -> bool:
    """Whether that is the site's last committed update, or may be the next: of two tries of an attempt either may be taken."""
    if window.is_asynchronous(state.config) and window.refusal(state, client, update.round, update.attempt) is None:
        return True
    plan = state.current.plan if state.current else None
    of_the_next = plan is not None and (update.round, update.attempt) == (plan.round, plan.attempt)
    return of_the_next or committed(state, client, update)
