"""Evaluation of a committed round at chosen sites, because a person asks for it: spec.evaluation.request. Pure; called by machine.

It disturbs no round: a site is told when it has nothing else to do. Who has evaluated that model outside of training before has
answered already; so a restart asks nobody twice. Records are those of held-out sites.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from fedapi.wire.job import EvaluationRequest
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcore.rounds.effects import Effect, FindModel
from fedcore.rounds.events import ModelFound, ModelLost
from fedcore.rounds.state import Phase, Requested, State

_SHOWN = 20  # rounds in a message


def due(state: State, now: float, kept: Callable[[], Collection[str]]) -> tuple[State, tuple[Effect, ...]]:
    """What the present value asks for now: to look for its model, or to wait no longer. `kept`: gives digests of what stays."""
    asked = state.config.evaluation.request if state.config.evaluation else None
    known = state.requested
    if asked is None or state.tip is None:
        return (state if known is None else replace(state, requested=None)), ()
    if known is not None and _is_same(known.asked, asked):
        if known.over or known.commit is None:
            return state, ()  # who joins later is not asked; while the model is looked for, not yet
        known = replace(known, asked=asked)
        state = replace(state, requested=known)
    if known is None or known.asked != asked:
        refused = _refused(state, asked, kept())
        looks = () if asked.round >= len(state.history) else (FindModel(asked),)
        return replace(state, requested=Requested(asked, over=bool(refused), refused=refused)), looks
    if known.over or known.commit is None:
        return state, ()
    if not _missing(known) - known.failed or now >= known.until or state.phase is Phase.FINISHED:
        return replace(state, requested=replace(known, over=True)), ()
    return state, ()


def _is_same(one: EvaluationRequest, other: EvaluationRequest) -> bool:
    """Whether it is one value of the manifest, whose selector selects other sites by now."""
    kept = {"clients": ()}
    return one != other and bool(one.selection) and one.model_copy(update=kept) == other.model_copy(update=kept)


def _refused(state: State, asked: EvaluationRequest, kept: Collection[str]) -> str:
    last = len(state.history) - 1
    if state.phase is Phase.FINISHED:
        return "training is over, and its sites have gone: a new job whose task.initialModel is this model evaluates it"
    if asked.round > last:
        return f"round {asked.round} is not committed: choose one of 0 to {last}"
    if state.history[asked.round].model in kept:
        return ""
    there = [round_ for round_, entry in enumerate(state.history) if entry.model in kept]
    named = ", ".join(map(str, there[-_SHOWN:]))
    return f"the model of round {asked.round} is not kept (spec.storage.history.keep): kept are {named}"


def found(state: State, event: ModelFound | ModelLost) -> State:
    """The state that knows the model, or that it is lost. Who asks for another by now is not answered.

    What was answered before the model went, or the job ended, stays answered, after a restart too.
    """
    known = state.requested
    if known is None or known.asked != event.asked:
        return state
    records = {record.client: record for record in event.records if record.client in known.asked.clients}
    if isinstance(event, ModelLost) or known.over:
        refused = "" if records else known.refused or (event.message[:900] if isinstance(event, ModelLost) else "")
        return replace(state, requested=replace(known, records=records, over=True, refused=refused))
    until = event.now + state.config.deadline_s
    return replace(state, requested=replace(known, commit=event.commit, records=records, until=until))


def _missing(known: Requested) -> frozenset[str]:
    return frozenset(known.asked.clients) - known.records.keys()


def open_for(state: State, client: str) -> Requested | None:
    """The request that a site is to answer now; None: none."""
    known = state.requested
    if known is None or known.over or known.commit is None or client not in known.asked.clients:
        return None
    able = client in state.roster.eligible or client in state.roster.held_out
    return known if able and client not in known.records and client not in known.failed else None


def asks(state: State, client: str, report: EvaluationReport) -> bool:
    """Whether a report is an answer to the request."""
    known = open_for(state, client)
    return known is not None and known.commit is not None and known.commit.round == report.round


def answered(state: State, record: SiteEvaluationRecord) -> State:
    """The state with a site's answer."""
    known = state.requested
    if known is None or known.commit is None or record.client not in known.asked.clients:
        return state
    if (record.round, record.model_sha256) != (known.commit.round, known.commit.model.sha256):
        return state
    return replace(state, requested=replace(known, records={**known.records, record.client: record}))


def failed(state: State, client: str, round_: int, attempt: int) -> State:
    """The state in which a site that could not evaluate is not asked again. Attempt 0: it is about an evaluation."""
    known = open_for(state, client)
    if known is None or attempt or round_ != known.asked.round:
        return state
    return replace(state, requested=replace(known, failed=known.failed | {client}))
