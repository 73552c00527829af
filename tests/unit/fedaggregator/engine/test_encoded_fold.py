"""A fold of encoded updates is that of what they decode to, bit for bit, encrypted or not; what no encoder makes is refused by name."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import content, folding
from fedaggregator.engine.content import Asked
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.compression import Compression
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Term
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.test_encrypted_fold import JOB_KEY, CountingStore, encrypted, fold
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT, asked, put, term
from tests.unit.fedcore.compression.coding import CODECS, file_of, named, sent

EACH = pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)


def tensors(seed: int) -> dict[str, np.ndarray]:
    """Tensors of several spans and of parts of one, narrow and wide ones, and some that are sent as they are."""
    rng = np.random.default_rng(seed)
    return {
        "a.bias": rng.normal(size=7).astype(np.float32),
        "a.weight": rng.normal(size=(300, 2001)).astype(np.float32),
        "b.bias": rng.normal(size=33).astype(np.float32),
        "b.weight": rng.normal(size=(1001, 5)).astype(np.float32),
        "c.half": rng.normal(size=3000).astype(np.float16),
        "d.wide": rng.normal(size=140_001),
        "none": np.zeros((0, 3), np.float32),
        "steps": rng.integers(0, 99, 5),
        "variance": rng.normal(size=2000).astype(np.float32),
    }


AMONG = tensors(0).keys() - {"variance"}


def payload(store, client, encoding, data):
    return Payload(codec=encoding.codec, object=put(store, f"updates/{client}", data))


@EACH
@pytest.mark.parametrize("kem", [None, "MLKEM768X25519"])
def test_the_model_is_that_of_what_the_updates_decode_to(encoding, kem):
    store, beside = MemoryStore(), MemoryStore()
    base = put(store, "models/base", save(tensors(0)))
    plain = [
        put(beside, f"u/{client}", save(sent(tensors(seed), encoding, AMONG))) for client, seed in (("a", 1), ("b", 2))
    ]
    there = put(beside, "models/base", save(tensors(0)))
    model = fold(beside, asked(there, term("a", plain[0], 1), term("b", plain[1], 3)))
    terms = []
    for client, seed, samples in (("a", 1, 1), ("b", 2, 3)):
        data = file_of(tensors(seed), encoding, AMONG)
        if kem:
            place = asked(base).place(LAYOUT.uid, Term(client, {}, samples, None), "update")
            its = encrypted(store, f"updates/{client}", data, place).model_copy(update={"codec": encoding.codec})
        else:
            its = payload(store, client, encoding, data)
        terms.append(Term(client, {"update": its}, samples, None))
    assert fold(store, asked(base, *terms)).sha256 == model.sha256


@EACH
def test_an_encoded_update_is_read_once_where_its_parts_are_read_in_their_order(encoding):
    store = CountingStore()
    values = {"w": tensors(1)["a.weight"], "x": tensors(2)["a.weight"]}
    base = put(store, "models/base", save(values))
    update = payload(store, "a", encoding, file_of(values, encoding))
    fold(store, asked(base, Term("a", {"update": update}, 1, None)))
    assert store.read["updates/a"] < (2.3 if encoding.codec == "TopK" else 1.01) * update.object.size


@EACH
@pytest.mark.parametrize("position", [0, 9, 100, 900, 5000, -2000, -1])
def test_any_changed_byte_is_found(encoding, position):
    store = MemoryStore()
    base = put(store, "models/base", save(tensors(0)))
    update = payload(store, "a", encoding, file_of(tensors(1), encoding, AMONG))
    data = bytearray(store.get(update.object.key))
    data[position] ^= 0x41
    store._objects[update.object.key] = bytes(data)
    before = set(store.keys(""))
    with pytest.raises(DamagedError) as error:
        fold(store, asked(base, Term("a", {"update": update}, 1, None)))
    assert set(error.value.found) == {"updates/a"}
    assert set(store.keys("")) == before


def judged(data, encoding, codec=None, values=None, inline=False):
    """What the hub says of an update of that base; empty when it takes it."""
    store = MemoryStore()
    base = put(store, "models/base", save(values or tensors(0)))
    its = payload(store, "a", encoding, data)
    made = Sent(its, asked(base).place(LAYOUT.uid, Term("a", {}, 1, None), "update"))
    compression = Compression(**(codec or encoding).model_dump())
    wanted = Asked(content.read_table(store, base.key), compression)
    try:
        if inline:
            content.check_inline(Payloads(store, JOB_KEY), made, data, wanted)
        else:
            content.check_update(store, Payloads(store, JOB_KEY), made, wanted)
    except RequestRefusedError as error:
        return str(error)
    return ""


@EACH
@pytest.mark.parametrize("inline", [False, True])
def test_what_an_encoder_makes_is_taken(encoding, inline):
    assert judged(file_of(tensors(1), encoding, AMONG), encoding, inline=inline) == ""


@EACH
def test_an_update_that_is_not_encoded_is_refused_where_the_round_asks_for_a_codec(encoding):
    assert "its metadata says no codec" in judged(save(tensors(1)), encoding)


def test_another_fraction_than_the_round_asks_for():
    found = judged(file_of(tensors(1), named("TopK", 0.1)), named("TopK", 0.1), named("TopK", 0.01))
    assert "fraction=0.1, the round asks for codec='TopK' fraction=0.01: do as the order says" in found


def test_another_codec_than_the_manifest_says():
    assert "says codec Int4, its manifest Int8" in judged(file_of(tensors(1), named("Int4")), named("Int8"))


def in_part(data, part, at, value, dtype):
    """The file with one number of a part changed."""
    found, start = load(data), 8 + int.from_bytes(data[:8], "little")
    del found
    import json

    entry = json.loads(data[8:start])[part]["data_offsets"]
    numbers = np.frombuffer(data[start + entry[0] : start + entry[1]], dtype).copy()
    numbers[at] = value
    return data[: start + entry[0]] + numbers.tobytes() + data[start + entry[1] :]


HOSTILE = [
    ("Int8", "a.weight/scale", 1000, np.nan, "<f4", "tensor 'a.weight': a scale is NaN or infinite"),
    ("Int8", "a.weight/scale", 1000, np.inf, "<f4", "tensor 'a.weight': a scale is NaN or infinite"),
    ("Int8", "d.wide/scale", 3, 3e37, "<f4", "tensor 'd.wide': a scale is NaN or infinite, or makes values that are"),
    ("Int8", "a.weight/scale", -1, -1e-9, "<f4", "tensor 'a.weight': a scale is negative"),
    ("Int4", "b.weight/scale", 2, np.nan, "<f4", "tensor 'b.weight': a scale is NaN"),
    ("Int8", "c.half/scale", 2, 1e6, "<f4", "tensor 'c.half' has NaN or infinite values"),
    ("Float16", "a.weight", (7, 7), np.inf, "<f2", "tensor 'a.weight' has NaN or infinite values"),
    ("TopK", "a.weight/value", 9, np.nan, "<f4", "tensor 'a.weight' has NaN or infinite values"),
    ("TopK", "a.weight/count", 3, 70_000, "<u4", "tensor 'a.weight': a page of 65536 items has 70000 entries"),
    ("TopK", "a.weight/count", 3, 7, "<u4", "tensor 'a.weight': its pages have"),
    ("TopK", "a.weight/index", 40, 0, "<u2", "tensor 'a.weight': its indices are not in order, or one is there twice"),
    ("TopK", "a.weight/index", -1, 65535, "<u2", "tensor 'a.weight': index"),
]


@pytest.mark.parametrize(("codec", "part", "at", "value", "dtype", "told"), HOSTILE)
def test_numbers_that_no_encoder_makes(codec, part, at, value, dtype, told):
    at = at[0] * 2001 + at[1] if isinstance(at, tuple) else at
    data = in_part(file_of(tensors(1), named(codec), AMONG), part, at, value, dtype)
    assert told in judged(data, named(codec))
    assert told in judged(data, named(codec), inline=True)


@pytest.mark.parametrize(("codec", "part", "at", "value", "dtype", "told"), [row for row in HOSTILE if ": " in row[5]])
def test_they_are_told_by_a_fold_too(codec, part, at, value, dtype, told):
    """Of an update that another version took."""
    store = MemoryStore()
    base = put(store, "models/base", save(tensors(0)))
    data = in_part(file_of(tensors(1), named(codec), AMONG), part, at, value, dtype)
    update = payload(store, "a", named(codec), data)
    with pytest.raises(DamagedError, match=told):
        fold(store, asked(base, Term("a", {"update": update}, 1, None)))


def test_a_cut_off_file_is_no_file():
    data = file_of(tensors(1), named("Int8"), AMONG)
    assert "not a safetensors file" in judged(data[:-1], named("Int8"))


def test_folding_twice_gives_the_same_bits():
    store = MemoryStore()
    base = put(store, "models/base", save(tensors(0)))
    update = payload(store, "a", named("Int4"), file_of(tensors(1), named("Int4"), AMONG))
    wanted = asked(base, Term("a", {"update": update}, 1, None))
    models = {
        folding.fold(store, Payloads(store, JOB_KEY), LAYOUT, wanted, lambda: False).model.sha256 for _ in range(2)
    }
    assert len(models) == 1
    assert hashlib.sha256(store.get(base.key)).hexdigest() not in models
