"""Many objects at once: in order and bounded at a distant store, one after the other elsewhere."""

import threading

import pytest

from fedstore import many
from fedstore.errors import StoreFailedError
from fedstore.memory import MemoryStore
from tests.waiting import PATIENCE_S


class Distant(MemoryStore):
    """A store that signs, and notes how many deletions are under way at once. `together`: how many must be."""

    largest_put_bytes = 1

    def __init__(self, together=1):
        super().__init__()
        self.underway = self.most = 0
        self._meet, self._lock = threading.Barrier(together), threading.Lock()

    def ca(self):
        return ""

    def presigned_get(self, *_):
        raise NotImplementedError

    presigned_put = arrived = presigned_get

    def delete(self, key):
        with self._lock:
            self.underway += 1
            self.most = max(self.most, self.underway)
        self._meet.wait(PATIENCE_S)
        super().delete(key)
        with self._lock:
            self.underway -= 1
        if key.startswith("bad"):
            raise StoreFailedError(key)


def test_a_distant_store_is_asked_for_sixteen_at_once_and_answers_in_order():
    store = Distant(together=16)
    keys = [f"k{number}" for number in range(64)]
    for key in keys:
        store.put_once(key, key.encode())
    assert list(many.mapped(store, store.get, keys)) == [(key, key.encode()) for key in keys]
    many.delete(store, keys)
    assert (list(store.keys("")), store.most) == ([], 16)


@pytest.mark.parametrize("store", [MemoryStore(), Distant()], ids=["near", "distant"])
def test_results_are_taken_as_they_are_needed(store):
    begun = []
    results = many.mapped(store, begun.append, iter(range(1000)))
    next(results)
    assert len(begun) <= 17
    results.close()


def test_one_that_fails_keeps_none_of_the_others():
    store = Distant()
    for key in ("a", "bad", "c"):
        store.put_once(key, b"")
    with pytest.raises(StoreFailedError, match="bad"):
        many.delete(store, ["a", "bad", "c"])
    assert list(store.keys("")) == []
