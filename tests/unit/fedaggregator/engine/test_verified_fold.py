"""The fold reads every byte once, and knows whether it was the right one, in whatever order the tensors of a file lie."""

import hashlib
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import folding
from fedaggregator.engine.folding import ModelNotFiniteError
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Fold, Term
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")
KIND = {"float32": "F32", "float64": "F64", "int64": "I64"}


def tensors(seed: int) -> dict[str, np.ndarray]:
    """One tensor of several blocks, some small ones, and an empty one."""
    rng = np.random.default_rng(seed)
    return {
        "big": rng.normal(size=600_000).astype(np.float32),
        "bias": rng.normal(size=7).astype(np.float32),
        "none": np.zeros((0, 3), np.float32),
        "steps": rng.integers(0, 99, 5),
    }


def in_order(values: dict[str, np.ndarray], names: list[str]) -> bytes:
    """A tensor file whose tensors lie in that order."""
    table, position = {}, 0
    for name in names:
        value = values[name]
        ends = [position, position + value.nbytes]
        table[name] = {"dtype": KIND[value.dtype.name], "shape": list(value.shape), "data_offsets": ends}
        position = ends[1]
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(values[name].tobytes() for name in names)


def fold(store: MemoryStore, layout: Layout, order: Fold, cancelled) -> ObjectRef:
    return folding.fold(store, Payloads(store, bytes(32)), layout, order, cancelled).model


def put(store: MemoryStore, key: str, data: bytes) -> ObjectRef:
    return store.put_once(key, data)


def term(client: str, update: ObjectRef, samples: int = 1) -> Term:
    return Term(client, {"update": Payload(object=update)}, samples, None)


def asked(base: ObjectRef, *terms: Term) -> Fold:
    return Fold(3, 1, base, StrategySettings(), terms)


@pytest.fixture
def order():
    """Base and one update as trainers write them; another update the other way round."""
    store = MemoryStore()
    names = sorted(tensors(0))
    refs = [
        put(store, "models/base", save(tensors(0))),
        put(store, "updates/a", save(tensors(1))),
        put(store, "updates/b", in_order(tensors(2), names[::-1])),
    ]
    return store, asked(refs[0], term("a", refs[1], 1), term("b", refs[2], 3))


def test_order_in_a_file_changes_nothing(order):
    store, wanted = order
    model = load(store.get(fold(store, LAYOUT, wanted, lambda: False).key))
    straight = put(store, "updates/c", save(tensors(2)))
    other = asked(wanted.base, wanted.terms[0], term("b", straight, 3))
    assert fold(store, LAYOUT, other, lambda: False).sha256 == hashlib.sha256(save(model)).hexdigest()
    base, a, b = (tensors(i)["big"] for i in range(3))
    assert np.array_equal(model["big"], base + (np.float32(0.25) * a + np.float32(0.75) * b))


@pytest.mark.parametrize("keys", [("models/base",), ("updates/a",), ("updates/b",), ("updates/a", "updates/b")])
@pytest.mark.parametrize("position", [0, 3, 20, 1000, -2_000_000, -30, -1])
def test_any_changed_byte_is_found_and_nothing_is_left(order, keys, position):
    store, wanted = order
    for key in keys:
        data = bytearray(store.get(key))
        data[position] ^= 0x40
        store._objects[key] = bytes(data)
    before = set(store.keys(""))
    with pytest.raises(DamagedError) as error:
        fold(store, LAYOUT, wanted, lambda: False)
    assert set(error.value.found) == set(keys)
    assert set(store.keys("")) == before


def test_a_damaged_base_is_named_alone(order):
    """Beside its own, every update looks wrong."""
    store, wanted = order
    store._objects["models/base"] = save(tensors(0) | {"bias": np.zeros(9, np.float32)})
    store._objects["updates/a"] = b""
    with pytest.raises(DamagedError) as error:
        fold(store, LAYOUT, asked(wanted.base, *wanted.terms), lambda: False)
    assert set(error.value.found) == {"models/base"}


def test_what_is_not_finite_is_named_unless_it_was_so_before():
    mask = np.array([0, -np.inf], np.float32)
    base = {"mask": mask, "w": np.array([3e38, 1], np.float32)}
    for step, broken in ((1e37, ""), (3e38, "'w'")):
        store = MemoryStore()
        update = {"mask": np.zeros(2, np.float32), "w": np.array([step, 0], np.float32)}
        wanted = asked(put(store, "base", save(base)), term("a", put(store, "u", save(update))))
        if broken:
            with pytest.raises(ModelNotFiniteError, match=broken):
                fold(store, LAYOUT, wanted, lambda: False)
            assert list(store.keys("models/")) == []
        else:
            model = load(store.get(fold(store, LAYOUT, wanted, lambda: False).key))
            assert np.array_equal(model["mask"], mask)
