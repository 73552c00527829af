"""A ledger that was put aside: nothing of it is lost, and the next one has a name of its own."""

import pytest

from fedapi.wire.layout import Layout
from fedapi.wire.ledger import LedgerRestart
from fedcore.ledger.tiles import CHECKPOINT
from fedstore import ledgerrestarts
from fedstore.errors import StoreError
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.test_ledger import LAYOUT, grown

OTHER = Layout("lab", "other", "0b5c1f9e-0000-4000-8000-000000000002")


def record(number):
    return LedgerRestart(number=number, reason="entry 3 is broken", size=3, root="a" * 64, at=1.0)


def test_all_of_it_is_put_aside_and_the_newest_record_counts():
    store = MemoryStore()
    assert ledgerrestarts.newest(store, LAYOUT) is None
    for number in (1, 2):
        grown(store, 3)
        there = {key: store.get(key) for key in store.keys(LAYOUT.ledger("tile/"))}
        there[LAYOUT.ledger(CHECKPOINT)] = store.head(LAYOUT.ledger(CHECKPOINT)).data
        ledgerrestarts.put_aside(store, LAYOUT, record(number))
        left = set(store.keys(LAYOUT.ledger("")))
        assert not there.keys() & left
        aside = {LAYOUT.ledger(f"broken/{number:06d}/{key.removeprefix(LAYOUT.ledger(''))}"): key for key in there}
        assert {key: store.get(where) for where, key in aside.items()} == there
        assert ledgerrestarts.newest(store, LAYOUT) == record(number).sealed()


@pytest.mark.parametrize("number", [0, 1, 2, 10])
def test_each_has_an_origin_of_its_own(number):
    name = ledgerrestarts.origin(LAYOUT, record(number) if number else None)
    assert ledgerrestarts.number(LAYOUT, name) == number
    assert ledgerrestarts.number(OTHER, name) is None
    assert ledgerrestarts.before(LAYOUT, record(number + 1)) == name


@pytest.mark.parametrize(
    "name", ["", "x", f"{LAYOUT.ledger_origin}/", f"{LAYOUT.ledger_origin}/x", f"{LAYOUT.ledger_origin}2"]
)
def test_names_of_no_ledger_of_the_job(name):
    assert ledgerrestarts.number(LAYOUT, name) is None


def test_a_damaged_record_is_named():
    store = MemoryStore()
    store.put_once(LAYOUT.ledger("broken/000001/restart.json"), b"{")
    with pytest.raises(StoreError, match=r"broken/000001/restart\.json: it is not canonical JSON"):
        ledgerrestarts.newest(store, LAYOUT)
