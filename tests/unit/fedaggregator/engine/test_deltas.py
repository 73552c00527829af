"""Deltas to the model that sites have: a site makes the hub's file of them, and what sites have tracks what is committed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fedaggregator.engine import broadcast, deltas, tensorvalues
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.compression import Encoding
from fedapi.wire.download import Download
from fedapi.wire.orders import Delta
from fedcore.rounds.outgoing import Outgoing
from fedstore.memory import MemoryStore
from fedtrainer.agent import model_delta
from tests.unit.fedaggregator.engine.test_broadcast import tensors
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT

INT8, INT4, TOPK = Encoding(codec="Int8"), Encoding(codec="Int4"), Encoding(codec="TopK", fraction=0.05)
CODECS = [INT8, INT4, TOPK, Encoding(codec="BFloat16"), Encoding(codec="Float16")]
EACH = pytest.mark.parametrize("encoding", CODECS, ids=lambda each: each.codec)


def stepped(values, seed=1, size=0.01):
    """A round later: tensors of two dimensions have moved a little, others too."""
    rng = np.random.default_rng(seed)
    moved = {
        name: (value + size * rng.normal(size=value.shape)).astype(value.dtype)
        for name, value in values.items()
        if value.dtype.kind == "f" and name[0] not in "egh"
    }
    return values | moved | {"j.steps": values["j.steps"] + 1}


def put(store, key, data):
    return store.put_once(f"models/{key}", data)


def encoded(store, model, reference, encoding, round_=3, seed=5):
    what = Outgoing(round_, model, encoding, seed, reference)
    return broadcast.encode(store, Payloads(store, bytes(32)), LAYOUT, what, lambda: False)


def offered(ref):
    return Download(url="https://hub/it", sha256=ref.sha256, size=ref.size, expires_at=0.0)


def as_a_site_makes_it(folder, store, made, encoding, before: bytes, came=None):
    """The file, or None where the whole is to be fetched."""
    held, path = folder / "before", folder / "model-next.safetensors"
    held.write_bytes(before)
    order = Delta(of_sha256="0" * 64, encoding=encoding, file=offered(made.object))
    data = store.get(made.object.key) if came is None else came
    found = model_delta.fetched(offered(made.reference), order, path, held, lambda _, to: to.write_bytes(data))
    assert [each.name for each in folder.iterdir() if "partial" in each.name] == []
    assert found is path.exists()
    return path.read_bytes() if found else None


@EACH
def test_a_site_makes_the_very_file_of_the_hub(tmp_path, encoding):
    """Of an initial model, whose file is in another order and says more, of what travels."""
    store, values = MemoryStore(), tensors()
    first = save(values | {"frozen": np.ones(3)}, {"fedloom": '{"buffers":["j.steps"],"frozen":["frozen"]}'})
    after = stepped(values)
    made = encoded(store, put(store, "x1", save(after)), put(store, "x0", first), encoding)
    whole = store.get(made.reference.key)
    assert as_a_site_makes_it(tmp_path, store, made, encoding, first) == whole
    assert made.plain_bytes == sum(value.nbytes for value in values.values())
    assert made.object.size < made.reference.size
    found = load(whole)
    assert {name: (v.dtype, v.shape) for name, v in found.items()} == {n: (v.dtype, v.shape) for n, v in values.items()}
    for name in "fgijk":  # what codecs leave alone, and a mask of infinities, which has no difference
        (full,) = (each for each in values if each.startswith(name))
        assert np.array_equal(found[full], after[full]), full


@EACH
def test_what_is_left_out_is_bounded_and_comes_later(tmp_path, encoding):
    """The model stands still: what sites have comes as close to it as its type can say."""
    store, values = MemoryStore(), {"w": np.random.default_rng(3).normal(size=(60, 40)).astype(np.float32)}
    target = {"w": values["w"] + np.random.default_rng(4).normal(size=(60, 40)).astype(np.float32)}
    model, reference, data = put(store, "x", save(target)), put(store, "w", save(values)), save(values)
    before, sizes = np.linalg.norm(target["w"] - values["w"]), []
    for round_ in range(1, 81):
        made = encoded(store, model, reference, encoding, round_)
        data = as_a_site_makes_it(tmp_path, store, made, encoding, data)
        (tmp_path / "model-next.safetensors").unlink()
        reference = made.reference
        sizes.append(np.linalg.norm(target["w"] - load(data)["w"]) / before)
    bound = {"Int8": 1 / 63, "Int4": 0.5, "TopK": 0.975, "BFloat16": 2**-8, "Float16": 2**-11}[encoding.codec]
    assert sizes[0] <= bound, "contractive: the squared error is below (1 - k/d) of the change for TopK, see each codec"
    assert sizes[-1] < 1e-6


@settings(max_examples=15, deadline=None)
@given(
    encoding=st.sampled_from([INT8, INT4, TOPK]), seed=st.integers(0, 2**31), size=st.sampled_from([1e-4, 0.01, 1.0])
)
def test_what_sites_have_tracks_what_is_committed(encoding, seed, size):
    """EF21-P's recursion: |x' - w'| <= q (|x - w| + |x' - x|), so the error stays within q / (1 - q) of the largest step."""
    store, rng = MemoryStore(), np.random.default_rng(seed)
    x = rng.normal(size=(50, 40)).astype(np.float32)
    reference = put(store, "w", save({"w": x}))
    q = {"Int8": 0.1, "Int4": 0.8, "TopK": np.sqrt(0.95)}[encoding.codec]
    error = 0.0
    for round_ in range(1, 13):
        step = (size * rng.normal(size=x.shape)).astype(np.float32)
        x = x + step
        made = encoded(store, put(store, f"x{round_}", save({"w": x})), reference, encoding, round_, seed)
        reference = made.reference
        found = np.linalg.norm(x - load(store.get(reference.key))["w"])
        assert found <= (q * (error + np.linalg.norm(step)) + 1e-4) * (1 + 1e-4)
        error = found


@EACH
def test_it_is_the_same_bytes_in_whatever_blocks_it_is_read(monkeypatch, encoding):
    first, second = save(tensors()), save(stepped(tensors()))

    def made():
        store = MemoryStore()
        return encoded(store, put(store, "x1", second), put(store, "x0", first), encoding)

    whole = made()
    monkeypatch.setattr(tensorvalues, "_HELD_BYTES", 1000)
    assert made() == whole


def test_a_sum_that_its_type_cannot_hold_goes_as_it_is():
    store = MemoryStore()
    before = {"w": np.full((40, 40), 3e38, np.float32), "v": np.zeros((40, 40), np.float32)}
    before["w"][0, 0] = -3e38  # its change is infinite
    after = {"w": np.full((40, 40), 3e38, np.float32), "v": np.ones((40, 40), np.float32)}
    made = encoded(store, put(store, "x1", save(after)), put(store, "x0", save(before)), INT8)
    found = load(store.get(made.reference.key))
    assert np.array_equal(found["w"], after["w"])
    assert load(store.get(made.object.key))["v"].dtype == np.int8


def test_a_sum_above_the_largest_of_its_type_is_found(monkeypatch):
    """Rounding at random may go one scale too far."""
    store, most = MemoryStore(), float(np.finfo(np.float16).max)
    before = {
        "w": np.linspace(-most, most, 1600, dtype=np.float16).reshape(40, 40),
        "v": np.zeros((40, 40), np.float32),
    }
    after = {"w": np.full((40, 40), most, np.float16), "v": np.ones((40, 40), np.float32)}
    made = encoded(store, put(store, "x1", save(after)), put(store, "x0", save(before)), INT8)
    assert np.array_equal(load(store.get(made.reference.key))["w"], after["w"])


def test_what_would_not_be_smaller_goes_as_it_is():
    store, values = MemoryStore(), {"bias": np.ones(9, np.float32)}
    model, reference = put(store, "x1", save(values)), put(store, "x0", save({"bias": np.zeros(9, np.float32)}))
    assert encoded(store, model, reference, TOPK) == broadcast.Result(None, 36)
    assert sorted(store.keys("models/")) == ["models/x0", "models/x1"]


def test_without_a_reference_of_the_same_tensors_it_goes_as_it_is():
    store, values = MemoryStore(), {"w": np.ones((40, 40), np.float32)}
    model = put(store, "x1", save(values))
    assert encoded(store, model, put(store, "x0", save({"v": values["w"]})), INT8).object is None


@pytest.mark.parametrize("position", [9, 800, 5000, -1, None], ids=str)
def test_a_damaged_or_lost_reference_costs_bytes_alone_and_a_damaged_model_all(position, caplog):
    for key in ("x0", "x1"):
        store = MemoryStore()
        refs = [put(store, "x1", save(stepped(tensors()))), put(store, "x0", save(tensors()))]
        data = bytearray(store.get(f"models/{key}"))
        store.delete(f"models/{key}")
        if position is not None:
            data[position] ^= 64
            put(store, key, bytes(data))
        if key == "x0":
            assert encoded(store, *refs, INT8) == broadcast.Result(None, sum(v.nbytes for v in tensors().values()))
            assert "what sites have cannot be read" in caplog.text
            continue
        with pytest.raises(DamagedError) as caught:
            encoded(store, *refs, INT8)
        assert set(caught.value.found) == {"models/x1"}


@pytest.mark.parametrize("what", ["before", "delta", "none"])
def test_a_site_that_has_something_else_fetches_the_whole(tmp_path, what):
    store, first = MemoryStore(), save(tensors())
    made = encoded(store, put(store, "x1", save(stepped(tensors()))), put(store, "x0", first), TOPK)
    held, came = bytearray(first), bytearray(store.get(made.object.key))
    if what == "before":
        held[-1] ^= 1
        held[-100000] ^= 1
    elif what == "delta":
        came[-3] ^= 64  # of the last value's exponent
    else:
        held = bytearray(b"nothing")
    assert as_a_site_makes_it(tmp_path, store, made, TOPK, bytes(held), bytes(came)) is None


def test_nothing_of_a_delta_is_made_where_the_process_ends():
    store = MemoryStore()
    refs = [put(store, "x1", save(stepped(tensors()))), put(store, "x0", save(tensors()))]
    making = deltas.Making(
        store, Payloads(store, bytes(32)), LAYOUT, Outgoing(3, refs[0], INT8, 5), refs[1], frozenset(), lambda: True
    )
    with pytest.raises(WorkCancelledError):
        making.made()
    assert sorted(store.keys("models/")) == ["models/x0", "models/x1"]
