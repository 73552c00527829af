"""A fold of encrypted updates: the same model, every byte hashed once, and whatever was changed is named before it is used."""

from contextlib import contextmanager

import pytest
from safetensors.numpy import save

from fedaggregator.engine import decrypted, folding
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.encryption import HubKey
from fedapi.wire.message import ObjectRef
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Fold, Term
from fedstore.errors import StoreFailedError
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT, asked, in_order, put, tensors, term

JOB_KEY = b"j" * 32
KEM = "MLKEM768X25519"


class CountingStore(MemoryStore):
    """Counts what is read of each object: bytes, and requests."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, int] = {}
        self.requests: dict[str, int] = {}

    @contextmanager
    def reader(self, key):
        with super().reader(key) as reader:
            yield Counted(self, key, reader)


class Counted:
    def __init__(self, store, key, reader) -> None:
        self._store, self._key, self._reader, self.size = store, key, reader, reader.size

    def read_into(self, buffer, offset) -> None:
        self._store.read[self._key] = self._store.read.get(self._key, 0) + buffer.nbytes
        self._store.requests[self._key] = self._store.requests.get(self._key, 0) + 1
        self._reader.read_into(buffer, offset)


def encrypted(store: MemoryStore, key: str, data: bytes, place) -> Payload:
    encryption = HubKey(JOB_KEY).recipient(KEM).encryption(place, key.encode().ljust(32, b"k"))
    return Payload(object=put(store, key, b"".join(map(bytes, encryption.encrypted([data])))), encryption=KEM)


def order(store: MemoryStore) -> Fold:
    """A base and two encrypted updates, one of which has its tensors the other way round."""
    base = put(store, "models/base", save(tensors(0)))
    empty = asked(base, term("a", base, 1), term("b", base, 3))
    made = {"a": save(tensors(1)), "b": in_order(tensors(2), sorted(tensors(0))[::-1])}
    terms = tuple(
        Term(t.client, {"update": encrypted(store, f"updates/{t.client}", made[t.client], empty.place(LAYOUT.uid, t, "update"))}, t.samples, None)
        for t in empty.terms
    )  # fmt: skip
    return asked(base, *terms)


def fold(store: MemoryStore, wanted: Fold) -> ObjectRef:
    return folding.fold(store, Payloads(store, JOB_KEY), LAYOUT, wanted, lambda: False).model


def test_the_model_is_that_of_plain_updates_and_no_more_is_read_than_shared_chunks():
    store, beside = CountingStore(), MemoryStore()
    wanted = order(store)
    plain = [put(beside, "u/a", save(tensors(1))), put(beside, "u/b", save(tensors(2)))]
    base = put(beside, "models/base", save(tensors(0)))
    model = fold(beside, asked(base, term("a", plain[0], 1), term("b", plain[1], 3)))
    assert fold(store, wanted).sha256 == model.sha256
    header, spans = (
        2 + 1,
        3,
    )  # an encrypted header in two reads, and the tensors' in one chunk; 2.4 MB of float32, and two small types
    assert store.requests["updates/a"] <= header + spans + 2, "a part is one request, however many chunks it has"
    assert store.read["updates/a"] < 1.25 * store.size("updates/a")
    assert store.read["updates/b"] < 2.25 * store.size("updates/b"), "once more for the digest, as a plain one"


@pytest.mark.parametrize("keys", [("updates/a",), ("updates/b",), ("updates/a", "updates/b")])
@pytest.mark.parametrize("position", [0, 20, 1300, 5000, 1_000_000, -200_000, -1])
def test_any_changed_byte_is_found_and_all_damaged_updates_are_named(keys, position):
    store = MemoryStore()
    wanted = order(store)
    for key in keys:
        data = bytearray(store.get(key))
        data[position] ^= 0x40
        store._objects[key] = bytes(data)
    before = set(store.keys(""))
    with pytest.raises(DamagedError) as error:
        fold(store, wanted)
    assert set(error.value.found) == set(keys)
    assert set(store.keys("")) == before


def test_updates_that_were_exchanged_are_named_though_their_digests_are_right():
    """Somebody who writes manifests, too, cannot make one site's update count for another."""
    store = MemoryStore()
    wanted = order(store)
    a, b = wanted.terms
    exchanged = asked(wanted.base, Term("a", b.payloads, 1, None), Term("b", a.payloads, 3, None))
    with pytest.raises(DamagedError) as error:
        fold(store, exchanged)
    assert {what.partition(":")[0] for what in error.value.found.values()} == {
        "its key is sealed to another aggregator, or for another job, round, attempt, site, base or payload"
    }


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_any_part_can_be_read_in_any_order(size):
    store = MemoryStore()
    plain = bytes(range(256)) * 800
    wanted = asked(put(store, "base", b"b"), term("a", ObjectRef(key="u", sha256="0" * 64, size=0)))
    place = wanted.place(LAYOUT.uid, wanted.terms[0], "update")
    payload = encrypted(store, "u", plain[:size], place)
    with Payloads(store, JOB_KEY).accepted(Sent(payload, place)) as reader:
        assert reader.size == size
        for begin, end in [(0, size), (size // 2, size), (0, size // 3), (max(0, size - 1), size), (size, size)]:
            part = bytearray(end - begin)
            reader.read_into(memoryview(part), begin)
            assert part == plain[begin:end]
        with pytest.raises(StoreFailedError, match=f"ends at {size}"):
            reader.read_into(memoryview(bytearray(2)), size - 1)
        assert reader.trouble() == ""
        assert isinstance(reader, decrypted.DecryptedReader)


def test_a_payload_that_was_handed_in_and_is_not_for_its_place_is_refused():
    store = MemoryStore()
    wanted = order(store)
    a, b = wanted.terms
    sent = Sent(a.payloads["update"], wanted.place(LAYOUT.uid, b, "update"))
    for judged in (Payloads(store, JOB_KEY).arrived(sent), Payloads(store, JOB_KEY).held(sent, store.get("updates/a"))):
        with pytest.raises(RequestRefusedError, match="Malformed: the update cannot be decrypted: its key"), judged:
            pass
