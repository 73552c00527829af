"""Looks for a committed round that a job is to go back to, or that is to be evaluated: all that this needs must be whole.

Called by the interpreter. Reads the chain of commits, one at a time, and those objects; blocking.
"""

from collections.abc import Callable
from contextlib import suppress

from fedaggregator.engine import records, verified
from fedaggregator.errors import DamagedError
from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import EvaluationRequest, RollbackTo
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import Head
from fedcore.rounds import lines
from fedcore.rounds.effects import FindModel, FindRound
from fedcore.rounds.events import ModelFound, ModelLost, RoundFound, RoundLost
from fedcore.rounds.sites import Contribution
from fedstore import history
from fedstore.errors import MissingError
from fedstore.objectstore import ObjectStore


def answer(
    store: ObjectStore, layout: Layout, head: Head, order: FindRound | FindModel, now: Callable[[], float]
) -> RoundFound | RoundLost | ModelFound | ModelLost:
    """What is asked for, or what is wrong with it."""
    if isinstance(order, FindModel):
        return model(store, layout, head, order.asked, now)
    return sought(store, layout, head, order.asked, now)


def sought(
    store: ObjectStore, layout: Layout, head: Head, asked: RollbackTo, now: Callable[[], float]
) -> RoundFound | RoundLost:
    """The round, or what is wrong with it. StoreDamagedError when the chain is."""
    found: CommitRecord | None = None
    made: dict[str, Contribution] = {}
    with records.fatal():
        for commit, is_on in lines.marked(history.links(store, layout, head), asked.round):
            if commit.round == asked.round:
                found = commit.model_copy(update={"participants": ()})
            for participant in commit.participants if is_on else ():
                made.setdefault(participant.client, Contribution.of(commit, participant))
    if found is None:
        return RoundLost(now(), asked, f"round {asked.round} is not committed")
    try:
        for ref in found.objects:
            verified.check(store, ref)
    except DamagedError as error:
        text = f"round {asked.round} cannot be gone back to: {error}: choose another, or put it back from a backup and "
        return RoundLost(now(), asked, f"{text}ask again with another id")
    return RoundFound(now(), asked, found, made)


def model(
    store: ObjectStore, layout: Layout, head: Head, asked: EvaluationRequest, now: Callable[[], float]
) -> ModelFound | ModelLost:
    """The commit of a round whose model is whole, and what sites have measured of it; or what is wrong with it."""
    with records.fatal():
        commits = history.links(store, layout, head)
        found = next((commit for commit in commits if commit.round == asked.round), None)
    if found is None:
        return ModelLost(now(), asked, f"round {asked.round} is not committed")
    keys = (layout.site_evaluation(client, asked.round, found.model.sha256) for client in asked.clients)
    told = tuple(record for key in keys if (record := _record(store, key)) is not None)
    try:
        for ref in (found.model, *((found.initial,) if found.initial else ())):
            verified.check(store, ref)
    except DamagedError as error:
        return ModelLost(now(), asked, f"round {asked.round} cannot be evaluated: {error}: choose another", told)
    return ModelFound(now(), asked, found.model_copy(update={"participants": ()}), told)


def _record(store: ObjectStore, key: str) -> SiteEvaluationRecord | None:
    """None where there is none, or a damaged one, in whose place another may come."""
    with suppress(MissingError, DamagedRecordError), records.readable(key):
        return SiteEvaluationRecord.stored(store.get(key))
    return None
