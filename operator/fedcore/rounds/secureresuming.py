"""An attempt of whose updates the sum alone is seen, after a restart: it goes on from the last step that was closed. Pure.

Called by recovery. What is recorded of a step decides; what sites said in an open one they say again, the same to the byte. A
record that is damaged takes the attempt back to its step, where sites agree to nothing else than before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedapi.wire.secureround import Step, StepRecord
from fedapi.wire.store import CloseRecord
from fedcore.rounds import closing, secure
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.exchange import Exchange, core
from fedcore.rounds.state import Phase, State


def resumed(
    state: State, attempt: Attempt, records: Iterable[StepRecord], close: CloseRecord | None, now: float
) -> secure.Change:
    """The state to go on from. `records` and `close`: of this attempt, the newest of each step last."""
    said: dict[Step, StepRecord] = {record.step: record for record in records}
    exchange = attempt.secure
    if exchange is None:
        return state, ()
    exchange = _shared(exchange, said)
    if exchange.step != "Mask":  # what came is not awaited yet, and is sent again, the same
        attempt = secure.entered(replace(attempt, accepted={}, quorum_at=None), exchange, now)
        return replace(state, phase=Phase.COLLECTING, current=attempt), ()
    sharers = frozenset(exchange.asked)
    attempt = replace(attempt, accepted={name: each for name, each in attempt.accepted.items() if name in sharers})
    if close is None:
        exchange = exchange.resumed_masking(attempt.accepted.values())
        return replace(state, phase=Phase.COLLECTING, current=secure.entered(attempt, exchange, now)), ()
    attempt = replace(attempt, closed=close.accepted, lost_s=close.lost_s)
    state = replace(state, phase=Phase.OPENING, current=attempt)
    if lost := sorted(set(close.accepted) - attempt.accepted.keys()):
        text = f"updates are lost or damaged in the store, of {', '.join(lost)}: the sum cannot be opened without them"
        return secure.failed(state, attempt, text, now)
    exchange = _opened(exchange.resumed_masking(attempt.accepted[name] for name in close.accepted), said)
    attempt = secure.narrowed(secure.entered(attempt, exchange, now), exchange.counted)
    if exchange.step == "Open" and "Open" in said:
        return closing.after_closing(state, secure.narrowed(attempt, exchange.opened()))
    return replace(state, current=attempt), secure.adding(state, attempt)


def _shared(exchange: Exchange, said: Mapping[Step, StepRecord]) -> Exchange:
    """With what is recorded of Advertise and Share."""
    first, second, hub = said.get("Advertise"), said.get("Share"), exchange.hub
    if first is None or first.participants is None:
        return exchange
    advertisements = {each.site: each for each in first.participants.advertisements}
    hub = hub.model_copy(update={"advertisements": advertisements, "participants": first.participants})
    exchange = replace(exchange, hub=hub, samples=first.samples)
    return exchange if second is None else exchange.resumed_sharing(second)


def _opened(exchange: Exchange, said: Mapping[Step, StepRecord]) -> Exchange:
    """With the survivor set, and what is recorded of Consent and Open."""
    third, fourth = said.get("Consent"), said.get("Open")
    hub, _ = core().survivors(exchange.hub)
    if third is None:
        return replace(exchange, hub=hub)
    hub, _ = core().request(hub.model_copy(update={"consents": {each.site: each for each in third.consents}}))
    exchange = replace(exchange, hub=hub)
    return exchange if fourth is None else exchange.resumed_opening(fourth)
