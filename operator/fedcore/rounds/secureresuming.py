"""An attempt whose updates are summed under masks, after a restart: it goes on from the last step that was closed. Pure.

Called by recovery. What is recorded of a step decides; what sites said in an open one they say again, the same to the byte. A
record that is damaged takes the attempt back to its step, where sites agree to nothing else than before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedapi.wire.secureround import Step, StepRecord
from fedapi.wire.store import CloseRecord
from fedapi.wire.update import UPDATE
from fedcore.rounds import closing, secure
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.exchange import Exchange
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
    masked = {name: each.payloads[UPDATE].object.sha256 for name, each in attempt.accepted.items()}
    if close is None:
        exchange = replace(exchange, hub=exchange.hub.model_copy(update={"masked_sha256": masked}))
        return replace(state, phase=Phase.COLLECTING, current=secure.entered(attempt, exchange, now)), ()
    attempt = replace(attempt, closed=close.accepted, lost_s=close.lost_s)
    state = replace(state, phase=Phase.OPENING, current=attempt)
    if lost := sorted(set(close.accepted) - attempt.accepted.keys()):
        text = f"updates are lost or damaged in the store, of {', '.join(lost)}: the sum cannot be opened without them"
        return secure.failed(state, attempt, text, now)
    counted = {name: masked[name] for name in close.accepted}
    exchange = _opened(replace(exchange, hub=exchange.hub.model_copy(update={"masked_sha256": counted})), said)
    attempt = secure.entered(attempt, exchange, now)
    if exchange.step == "Open" and "Open" in said:
        return closing.after_closing(state, attempt)
    return replace(state, current=attempt), ()


def _shared(exchange: Exchange, said: Mapping[Step, StepRecord]) -> Exchange:
    """With what is recorded of Advertise and Share."""
    first, second, hub = said.get("Advertise"), said.get("Share"), exchange.hub
    if first is None or first.participants is None:
        return exchange
    advertisements = {each.site: each for each in first.participants.advertisements}
    hub = hub.model_copy(update={"advertisements": advertisements, "participants": first.participants})
    exchange = replace(exchange, hub=hub, samples=first.samples)
    fingerprint = first.participants.fingerprint().hex()
    if second is None or any(each.participants_sha256 != fingerprint for each in second.shares):
        return exchange  # not recorded, or by an aggregator that was overtaken
    hub = hub.model_copy(update={"shares": {each.site: each for each in second.shares}})
    hub, deliveries = secure.core().deliveries(hub)
    return replace(exchange, hub=hub, deliveries=deliveries)


def _opened(exchange: Exchange, said: Mapping[Step, StepRecord]) -> Exchange:
    """With the survivor set, and what is recorded of Consent and Open."""
    third, fourth = said.get("Consent"), said.get("Open")
    hub, _ = secure.core().survivors(exchange.hub)
    if third is not None:
        hub, _ = secure.core().request(
            hub.model_copy(update={"consents": {each.site: each for each in third.consents}})
        )
        if fourth is not None:
            hub = hub.model_copy(update={"openings": {each.site: each for each in fourth.openings}})
    return replace(exchange, hub=hub)
