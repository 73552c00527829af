"""When the last model is encoded for the way down, and whether that is there (docs/compression.md). Pure; called by planning.

A model is encoded once, before the first plan that needs it, and every plan from that model names what came of it. The bits
follow from the model, the codec and spec.seed, and of a delta from the commit's reference, too: what is lost before a plan names
it is made again, the same.
"""

from collections.abc import Iterable
from dataclasses import replace

from fedapi.wire import storekey
from fedapi.wire.compression import Broadcast
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.seeds import derived
from fedcore.rounds.effects import Effect, Encode
from fedcore.rounds.events import BroadcastLost, Encoded
from fedcore.rounds.outgoing import Outgoing, Sent
from fedcore.rounds.state import Phase, State


def wanted(state: State) -> Outgoing | None:
    """How the last model is to be encoded for the next plan; None: it goes as it is.

    So goes the first that deltas follow: of a job, after a change of the configuration, after a rollback.
    """
    config, tip = state.config, state.tip
    if config.download is None or tip is None or (config.download_delta and tip.reference is None):
        return None
    reference = tip.reference if config.download_delta else None
    return Outgoing(state.round, tip.model, config.download, derived(config.seed, "broadcast"), reference)


def of_plan(state: State, plan: PlanRecord) -> Outgoing | None:
    """The same of a plan, for who makes again what it names; None where its sites get the base as it is."""
    if plan.broadcast is None:
        return None
    said = storekey.parsed(state.layout, plan.broadcast.object.key)
    round_ = said.round if said is not None else plan.round  # an earlier one, where rounds were skipped
    seed = derived(state.config.seed, "broadcast")
    return Outgoing(round_, plan.base, plan.broadcast.encoding, seed, plan.broadcast.of)


def due(state: State) -> tuple[State, tuple[Effect, ...]]:
    """The state in which the last model is being encoded, where the next plan needs that; the same where nothing is to be begun."""
    what = wanted(state)
    if what is None and state.encoding is not None:  # nobody waits for it any more, nor minds that its model goes
        return replace(state, encoding=None), ()
    if what is None or _is_of(state.sent, what) or state.encoding == what:
        return state, ()
    return replace(state, encoding=what), (Encode(what),)


def is_ready(state: State) -> bool:
    """Whether the next plan can name what sites get."""
    what = wanted(state)
    return what is None or _is_of(state.sent, what)


def broadcast(state: State) -> Broadcast | None:
    """What the next plan says of it."""
    return state.sent.broadcast if wanted(state) is not None and state.sent is not None else None


def reference(state: State) -> ObjectRef | None:
    """What the next plan says that its sites have from then on, where deltas may follow."""
    if state.config.download is None or not state.config.download_delta or state.tip is None:
        return None
    made = broadcast(state)
    return state.sent.reference if made is not None and state.sent is not None else state.tip.model


def encoded(state: State, event: Encoded) -> State:
    """The state that has what was made; what nobody waits for any more is left out."""
    what = event.what
    if state.encoding != what:
        return state
    made = None
    if event.object is not None:
        made = Broadcast(encoding=what.encoding, object=event.object, of=what.reference)
    return replace(state, encoding=None, sent=Sent(what, made, event.reference))


def lost(state: State, event: BroadcastLost) -> State:
    """The state that waits for nobody any more who cannot fetch the model: what has come is enough, or the round is planned afresh."""
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None:
        return state
    if (event.round, event.attempt) != (attempt.plan.round, attempt.plan.attempt):
        return state
    over = replace(attempt, deadline_at=min(attempt.deadline_at, event.now))
    return replace(state, sent=None, current=over)  # an attempt after this one has its model made anew


def resumed(state: State, plan: PlanRecord) -> State:
    """The state after a restart that goes on with this plan."""
    what = of_plan(state, plan)
    return state if what is None else replace(state, sent=Sent(what, plan.broadcast, plan.reference))


def superseded(state: State, plan: PlanRecord) -> State:
    """The state after the commit of a plan: what another plan named is nobody's any more."""
    return state if plan.broadcast is not None else replace(state, sent=None)


def kept(state: State, plans: Iterable[PlanRecord] = ()) -> frozenset[str]:
    """Digests of what stays when a round is committed: sites may still be reading the last one, or get it again."""
    named = {ref.sha256 for plan in plans if plan.broadcast is not None for ref in plan.offered}
    if state.phase in (Phase.EVALUATING, Phase.FINISHED):
        return frozenset(named)
    refs = [state.tip.reference] if state.tip is not None else []
    if state.sent is not None and state.sent.broadcast is not None:
        refs += [state.sent.broadcast.object, state.sent.reference]
    return frozenset(named.union(ref.sha256 for ref in refs if ref is not None))


def _is_of(sent: Sent | None, what: Outgoing) -> bool:
    """Whether that was made of the same: in which round does not matter."""
    return sent is not None and replace(sent.what, round=what.round) == what
