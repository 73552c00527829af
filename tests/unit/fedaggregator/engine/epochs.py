"""Aggregators one after the other on a store. Used by the tests of its records."""

from fedaggregator.engine import records
from fedaggregator.engine.interpreter import Interpreter
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.store import CloseRecord, FailureRecord, Head
from fedcore.rounds.state import State
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds import test_round_rules as rules


def started(store: MemoryStore) -> tuple[Interpreter, Head]:
    """One more aggregator on a store."""
    layout = State(rules.config(), 0).layout
    head, tag = records.take_head(store, layout)
    return Interpreter(store, Payloads(store, bytes(32)), layout, head, tag), head


def attempt_records(client: str) -> tuple[CloseRecord, FailureRecord]:
    at = {"job_uid": "uid", "round": 1, "attempt": 1, "at": 5.0}
    return CloseRecord(accepted=(client,), reason="Quorum", **at), FailureRecord(reason="x", message=client, **at)
