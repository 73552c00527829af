"""Effects on the store: of an aggregator that was superseded, on a head that is damaged, on old updates."""

import pytest

from fedaggregator.errors import StoreDamagedError
from fedcore.rounds.effects import Discard, Finish, WriteClose, WriteFailure
from fedcore.rounds.state import End, State
from fedstore.errors import HeadMovedError
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.epochs import attempt_records, started
from tests.unit.fedcore.rounds import test_round_rules as rules


def test_a_superseded_aggregator_decides_nothing():
    store = MemoryStore()
    old, _ = started(store)
    new, head = started(store)
    close, failure = attempt_records("a")
    for effect in (WriteClose(close), WriteFailure(failure)):
        with pytest.raises(HeadMovedError):
            old.perform(effect)
        new.perform(effect)
    assert {key.split("/")[-2] for key in store.keys(State(rules.config(), 0).layout.rounds())} == {f"e{head.epoch}-a1"}


@pytest.mark.parametrize("content", [None, b"", b'{"epoch":1,"round":-1}x'])
def test_a_head_that_is_lost_or_changed_is_told_from_one_that_was_taken(content):
    store = MemoryStore()
    interpreter, _ = started(store)
    close, failure = attempt_records("a")
    interpreter.perform(WriteFailure(failure))
    key = State(rules.config(), 0).layout.head
    store.delete(key)
    if content is not None:
        store._objects[key] = content
    for effect in (WriteClose(close), Finish(End("Failed", "x", "", 1.0))):
        with pytest.raises(StoreDamagedError, match=r"HEAD\.json"):
            interpreter.perform(effect)


def test_old_updates_go_whoever_sent_them():
    store = MemoryStore()
    interpreter, _ = started(store)
    layout = State(rules.config(), 0).layout
    for client in ("a", "left-long-ago"):
        for round_ in (1, 2):
            store.put_once(layout.update(client, round_, rules.A), b"x")
            store.put_once(layout.manifest(client, round_, 1), b"{}")
    interpreter.perform(Discard(1, frozenset()))
    left = list(store.keys(layout.updates("")))
    assert len(left) == 4
    assert all("_round_2" in key for key in left)
