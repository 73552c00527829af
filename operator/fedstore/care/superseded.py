"""Which models of a job nobody asks for any more, so that they may go to a cold class. Reads a job's history; changes nothing.

At hand stay the last two (a repair goes back one round), every model that is the best or the worst by any of its metrics, since
which of them counts is the job's to say and may change, and every one whose evaluation cannot be read.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.store import EvaluationRecord
from fedstore import history, many
from fedstore.history import Committed, Readable

_EVALUATION = "evaluation.json"
_AT_HAND = 2  # last rounds


def models(store: Readable, layout: Layout) -> Mapping[str, bool]:
    """Keys of the models that are there: whether each is superseded."""
    rounds = history.committed(store, layout)
    needed = needed_rounds(len(rounds), evaluations(store, layout, rounds))
    at_hand = {each.record.model.key for each in rounds if each.record.round in needed}  # a rollback has an older one's
    return {each.record.model.key: each.record.model.key not in at_hand for each in rounds if each.kept}


def needed_rounds(count: int, measured: Iterable[EvaluationRecord]) -> set[int]:
    """Rounds, of so many from 0 on, whose models stay at hand."""
    found = [record for record in measured if record.metrics]
    needed = set(range(count)) - {record.round for record in found}
    needed |= set(range(max(0, count - _AT_HAND), count))
    for metric in {name for record in found for name in record.metrics}:
        values = [(record.metrics[metric], record.round) for record in found if metric in record.metrics]
        best, worst = max(value for value, _ in values), min(value for value, _ in values)
        needed |= {round_ for value, round_ in values if value in (best, worst)}
    return needed


def evaluations(store: Readable, layout: Layout, rounds: Iterable[Committed]) -> Iterator[EvaluationRecord]:
    """Those that commits are bound to, as far as they can be read."""
    bound = {each.record.evaluation_sha256 for each in rounds if each.record.evaluation_sha256}
    keys = (key for key, said in history.records_of(store, layout) if said.name == _EVALUATION)
    for _, data in many.mapped(store, store.get, keys):
        if hashlib.sha256(data).hexdigest() in bound:
            try:
                yield EvaluationRecord.bound(data)
            except (DamagedRecordError, NewerRecordError):
                continue
