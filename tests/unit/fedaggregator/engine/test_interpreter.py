"""Effects on the store: of an aggregator that was superseded, on a head that is damaged, on old updates."""

import pytest

from fedaggregator.errors import StoreDamagedError
from fedapi.wire.site import EvaluationReport
from fedcore.rounds.effects import Discard, Finish, WriteClose, WriteFailure
from fedcore.rounds.state import End, State
from fedstore.errors import HeadMovedError, MissingError, StoreFailedError
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


def report(sha256: str, samples: int = 3) -> EvaluationReport:
    return EvaluationReport(job_uid="uid", round=0, client="a", model_sha256=sha256, samples=samples, metrics={})


class Vanishing(MemoryStore):
    """Deletes, once it is asked to, what is read, as somebody else would just before."""

    vanishes = False

    def get(self, key: str) -> bytes:
        if self.vanishes:
            self.vanishes = False
            self.delete(key)
        return super().get(key)


def test_a_record_that_is_deleted_between_the_write_and_the_read_is_written():
    store = Vanishing()
    interpreter, _ = started(store)
    interpreter.write_report(report(rules.A))
    store.vanishes = True
    assert interpreter.write_report(report(rules.A, samples=4)).samples == 4
    assert interpreter.write_report(report(rules.A)).samples == 4, "the first one counts"


def test_a_store_that_says_both_is_a_failing_one():
    class Contradicting(MemoryStore):
        def get(self, key: str) -> bytes:
            raise MissingError(key)

    interpreter, _ = started(store := Contradicting())
    interpreter.write_report(report(rules.A))
    with pytest.raises(StoreFailedError, match="gone when it is read"):
        interpreter.write_report(report(rules.A, samples=4))
    assert len(list(store.keys("updates/"))) == 1


def test_one_of_another_model_makes_room_to_the_aggregator_that_decides_and_to_no_other():
    """After a repair a round is made again; who does not know of it yet must not take away what was acknowledged since."""
    store = MemoryStore()
    old, _ = started(store)
    new, _ = started(store)
    new.write_report(report(rules.A))
    with pytest.raises(HeadMovedError):
        old.write_report(report(rules.B))
    assert new.write_report(report(rules.A, samples=4)).samples == 3
    assert new.write_report(report(rules.B)).model_sha256 == rules.B


def test_what_says_that_it_is_anothers_makes_room():
    store = MemoryStore()
    interpreter, _ = started(store)
    key = State(rules.config(), 0).layout.evaluation_report("a", 0)
    others = report(rules.A, samples=9).model_copy(update={"client": "b"})
    store.put_once(key, others.sealed().canonical())
    assert interpreter.write_report(report(rules.A)) == report(rules.A).sealed()
    assert store.get(key) == report(rules.A).sealed().canonical()
