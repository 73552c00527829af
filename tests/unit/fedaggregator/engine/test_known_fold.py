"""A fold of objects that this process has hashed before: known by their fingerprints, read once, and rot is found as ever."""

from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.engine import blocks, folding, verified
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.tensors import kernels
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.test_encrypted_fold import JOB_KEY, CountingStore, encrypted
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT, asked, in_order, tensors, term
from tests.unit.fedcore.compression.coding import CODECS, file_of


class Job:
    """A store, and what the process knows of its objects."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.payloads = Payloads(self.store, JOB_KEY)

    def put(self, key: str, data: bytes) -> ObjectRef:
        """As it arrives: in parts of any size."""
        with self.store.writer(key, size=len(data)) as made:
            writer = self.payloads.fingerprints.noted(made)
            for begin in range(0, len(data), 77_777):
                writer.write(data[begin : begin + 77_777])
            return writer.finish()

    def order(self) -> Fold:
        """Base and two updates, one of which has its tensors the other way round."""
        base = self.put("models/base", save(tensors(0)))
        a = self.put("updates/a", save(tensors(1)))
        b = self.put("updates/b", in_order(tensors(2), sorted(tensors(0))[::-1]))
        return asked(base, term("a", a, 1), term("b", b, 3))

    def fold(self, order: Fold) -> ObjectRef:
        return folding.fold(self.store, self.payloads, LAYOUT, order, lambda: False).model

    def restarted(self) -> "Job":
        other = Job()
        other.store = self.store
        other.payloads = Payloads(self.store, JOB_KEY)
        return other


@pytest.fixture
def job():
    return Job()


@contextmanager
def no_hashing(monkeypatch):
    """SHA-256 of what is read is an error."""
    with monkeypatch.context() as patch:

        def hashed(*_):
            raise AssertionError("an object that is known was hashed again")

        patch.setattr(verified, "HashedReader", hashed)
        yield


def test_what_was_hashed_on_its_way_in_is_read_once_and_hashed_no_more(job, monkeypatch):
    order = job.order()
    with no_hashing(monkeypatch):
        model = job.fold(order)
        assert all(job.store.read[key] == job.store.size(key) for key in ("models/base", "updates/a", "updates/b"))
        job.fold(asked(model, *order.terms))  # the model of a fold is known, too
    assert job.restarted().fold(order) == model


@pytest.mark.parametrize("keys", [("models/base",), ("updates/a",), ("updates/b",), ("updates/a", "updates/b")])
@pytest.mark.parametrize("position", [0, 3, 20, 1000, -2_000_000, -30, -1])
def test_any_changed_byte_is_found_and_nothing_is_left(job, keys, position):
    order = job.order()
    for key in keys:
        data = bytearray(job.store.get(key))
        data[position] ^= 0x40
        job.store._objects[key] = bytes(data)
    before = set(job.store.keys(""))
    with pytest.raises(DamagedError) as error:
        job.fold(order)
    assert set(error.value.found) == set(keys)
    assert set(job.store.keys("")) == before


def test_a_byte_that_is_wrong_only_while_it_is_folded_is_found(job, monkeypatch):
    """Another look at the object says that it is whole; the model that was made of it is not."""
    order, reads = job.order(), []
    read = CountingStore.reader

    @contextmanager
    def reader(self, key):
        with read(self, key) as found:
            yield Flaky(found, reads) if key == "updates/a" else found

    monkeypatch.setattr(CountingStore, "reader", reader)
    with pytest.raises(DamagedError, match="what was read of it is not what it is"):
        job.fold(order)


class Flaky:
    def __init__(self, reader, reads) -> None:
        self._reader, self._reads, self.size = reader, reads, reader.size

    def read_into(self, buffer, offset) -> None:
        self._reader.read_into(buffer, offset)
        if offset > 1000 and not self._reads:
            self._reads.append(offset)
            buffer[5] ^= 1


def test_a_known_object_of_which_not_all_was_read_is_read_once_more(job):
    order = job.order()
    ref = order.terms[0].payloads["update"]
    with job.payloads.accepted(Sent(ref, order.place("uid", order.terms[0], "update"))) as reader:
        reader.read_into(memoryview(bytearray(100)), 8)
        assert reader.trouble() == ""
    job.store._objects["updates/a"] = job.store.get("updates/a")[:-1] + b"\xff"
    with job.payloads.accepted(Sent(ref, order.place("uid", order.terms[0], "update"))) as reader:
        reader.read_into(memoryview(bytearray(100)), 8)
        assert "its SHA-256 is" in reader.trouble()


@pytest.mark.parametrize("position", [0, 20, 1300, 5000, 1_000_000, -200_000, -1])
def test_encrypted_updates_that_are_known_are_checked_as_those_that_are_not(job, position):
    base = job.put("models/base", save(tensors(0)))
    empty = asked(base, term("a", base, 1), term("b", base, 3))
    made = {"a": save(tensors(1)), "b": in_order(tensors(2), sorted(tensors(0))[::-1])}
    sealed, terms = MemoryStore(), []
    for each in empty.terms:
        key = f"updates/{each.client}"
        payload = encrypted(sealed, key, made[each.client], empty.place(LAYOUT.uid, each, "update"))
        job.put(key, sealed.get(key))
        terms.append(Term(each.client, {"update": payload}, each.samples, None))
    order = asked(base, *terms)
    plain = Job()
    assert job.fold(order).sha256 == plain.fold(plain.order()).sha256
    data = bytearray(job.store.get("updates/b"))
    data[position] ^= 0x40
    job.store._objects["updates/b"] = bytes(data)
    with pytest.raises(DamagedError) as error:
        job.fold(order)
    assert set(error.value.found) == {"updates/b"}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_bits_depend_neither_on_threads_nor_on_kernels_nor_on_what_is_known(
    job, monkeypatch, known, compiled, threads
):
    order = job.order()
    expected = job.restarted().fold(order)
    monkeypatch.setattr(blocks, "_THREADS", threads)
    if not compiled:
        monkeypatch.setattr(kernels, "AVAILABLE", False)
        monkeypatch.setattr(kernels, "_ADD_SCALED", {})
    assert (job if known and compiled else job.restarted()).fold(order) == expected


def test_without_kernels_nothing_is_noted_and_objects_are_hashed(job, monkeypatch):
    monkeypatch.setattr(kernels, "AVAILABLE", False)
    order = job.order()
    assert job.payloads.fingerprints.of(order.base) is None
    with no_hashing(monkeypatch), pytest.raises(AssertionError):
        job.fold(order)


@pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)
def test_an_encoded_update_is_known_too_and_read_by_many_threads(job, encoding):
    """Int8 with its scales once, each tensor in several spans and several tensors in one."""
    rng = np.random.default_rng(5)
    values = {
        f"w{n}": rng.normal(size=size).astype(np.float32)
        for n, size in enumerate([700_001, 5_000, 33, 1_200_007, 3_001])
    }
    base = job.put("models/base", save(values))
    terms = []
    for client in "abcd":
        update = Payload(
            codec=encoding.codec, object=job.put(f"updates/{client}", file_of(values, encoding, seed=ord(client)))
        )
        terms.append(Term(client, {"update": update}, 1, None))
    model = job.fold(asked(base, *terms))
    assert job.restarted().fold(asked(base, *terms)) == model
    job.store.read.clear()
    job.fold(asked(base, *terms))
    if encoding.codec != "TopK":
        assert all(job.store.read[f"updates/{client}"] == job.store.size(f"updates/{client}") for client in "abcd")
    data = bytearray(job.store.get("updates/b"))
    data[-7] ^= 1
    job.store._objects["updates/b"] = bytes(data)
    with pytest.raises(DamagedError) as error:
        job.fold(asked(base, *terms))
    assert set(error.value.found) == {"updates/b"}
