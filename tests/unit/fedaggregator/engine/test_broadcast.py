"""The model on its way down: within its bounds, the same bytes whenever it is made, and what a site reads is what the hub would."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from fedaggregator.engine import broadcast, content, decoding, tensorvalues
from fedaggregator.engine.decoding import Layout
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.compression import Encoding
from fedcore.rounds.outgoing import Outgoing
from fedcore.tensors import arithmetic
from fedstore.memory import MemoryStore
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import decoding as at_site
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT

CODECS = [Encoding(codec=name) for name in ("Float16", "BFloat16", "Int8")]
EACH = pytest.mark.parametrize("encoding", CODECS, ids=lambda each: each.codec)


def tensors(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a.weight": rng.normal(size=(300, 201)).astype(np.float32),
        "b.half": rng.normal(size=(60, 50)).astype(np.float16),
        "c.wide": rng.normal(size=(90, 70)),
        "d.constant": np.full((40, 40), 0.1, np.float32),
        "e.zeros": np.zeros((40, 40), np.float32),
        "f.none": np.zeros((0, 3), np.float32),
        "g.mask": np.where(np.tri(40) > 0, 0, -np.inf).astype(np.float32),
        "h.large": np.full((40, 40), 7e4, np.float32),
        "i.bias": rng.normal(size=2000).astype(np.float32),
        "j.steps": rng.integers(0, 99, (3, 5)),
        "k.flag": np.array([True, False]),
    }


def encoded(store, data, encoding, cancelled=lambda: False, seed=5):
    model = store.put_once("models/base", data)
    what = Outgoing(3, model, encoding, seed)
    return broadcast.encode(store, Payloads(store, bytes(32)), LAYOUT, what, cancelled)


def as_the_hub_reads_it(store, ref, base, encoding):
    """The tensors, by the reader that a fold has for updates."""
    with store.reader(ref.key) as reader:
        layout = Layout.of(base)
        plain = decoding.opened("it", reader, content.read_header(reader), layout, encoding.codec, str)
        found = {}
        for each in plain.table.tensors:
            buffer = bytearray(each.end - each.begin)
            plain.read_into(memoryview(buffer), each.begin)
            found[each.name] = bytes(buffer)
        return found


def as_a_site_reads_it(tmp_path, store, ref, values, encoding):
    path = tmp_path / "model"
    path.write_bytes(store.get(ref.key))
    return at_site.read(path, {name: torch.from_numpy(value) for name, value in values.items()}, encoding)


@EACH
def test_hub_and_site_read_the_same_bits_within_the_bounds(tmp_path, encoding):
    store, values = MemoryStore(), tensors()
    made = encoded(store, save(values), encoding)
    base = content.read_table(store, "models/base")
    ours = as_the_hub_reads_it(store, made.object, base, encoding)
    theirs = as_a_site_reads_it(tmp_path, store, made.object, values, encoding)
    assert made.object.key == LAYOUT.broadcast(3, made.object.sha256)
    assert made.plain_bytes == sum(value.nbytes for value in values.values())
    for name, value in values.items():
        found = theirs[name].numpy()
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        assert found.tobytes() == ours[name], name
        exact = "efgijk" + {"Float16": "bh", "BFloat16": "b", "Int8": ""}[encoding.codec]  # 7e4 is no float16
        if name[0] in exact:
            assert np.array_equal(found, value), name
        else:
            check(encoding, name, value, found)


def check(encoding, name, value, found):
    error = np.abs(found.astype(np.float64) - value)
    own = 2.0**-11 if name == "b.half" else 0.0
    bound = {"Float16": 2.0**-11, "BFloat16": 2.0**-8, "Int8": 1.0 / 127}[encoding.codec]
    of = np.abs(value).max() if encoding.codec == "Int8" else np.abs(value)
    assert (error <= (bound + own) * of * (1 + 1e-5) + 2.0**-25).all(), name
    assert error.max() > 0, name


@EACH
def test_it_is_the_same_bytes_in_whatever_blocks_it_is_read(monkeypatch, encoding):
    data = save(tensors())
    whole = encoded(MemoryStore(), data, encoding)
    monkeypatch.setattr(tensorvalues, "_HELD_BYTES", 1000)
    again = encoded(MemoryStore(), data, encoding)
    assert (whole, encoded(MemoryStore(), data, encoding)) == (again, again)
    other = encoded(MemoryStore(), data, encoding, seed=6)
    assert (other == whole) is (encoding.codec != "Int8"), "draws are of the seed"


def test_a_model_that_was_folded_here_is_known_by_its_fingerprint(monkeypatch):
    data, store = save(tensors()), MemoryStore()
    expected = encoded(MemoryStore(), data, CODECS[2])
    payloads = Payloads(store, bytes(32))
    with store.writer("models/base") as writer:
        noted = payloads.fingerprints.noted(writer)
        noted.write(data)
        model = noted.finish()
    monkeypatch.setattr(tensorvalues, "_HELD_BYTES", 1000)
    assert broadcast.encode(store, payloads, LAYOUT, Outgoing(3, model, CODECS[2], 5), lambda: False) == expected


@EACH
@pytest.mark.parametrize("position", [9, 800, 5000, -2000, -1])
def test_of_a_damaged_model_nothing_is_made(encoding, position):
    store, data = MemoryStore(), bytearray(save(tensors()))
    model = store.put_once("models/base", bytes(data))
    data[position] ^= 64
    store.delete("models/base")
    store.put_once("models/base", bytes(data))
    with pytest.raises(DamagedError) as caught:
        broadcast.encode(store, Payloads(store, bytes(32)), LAYOUT, Outgoing(3, model, encoding, 5), lambda: False)
    assert set(caught.value.found) == {"models/base"}
    assert list(store.keys("models/")) == ["models/base"]


def test_what_changes_between_two_passes_is_found(monkeypatch):
    class Changing(MemoryStore):
        """Of its model other bytes are read the second time."""

        passes = 0

        def reader(self, key):
            opened, outer = super().reader(key), self

            class Reader:
                size = property(lambda self: self.inner.size)

                def __enter__(self):
                    self.inner = opened.__enter__()
                    return self

                def __exit__(self, *exc):
                    return opened.__exit__(*exc)

                def read_into(self, buffer, offset):
                    self.inner.read_into(buffer, offset)
                    outer.passes += buffer.nbytes == 8000
                    if outer.passes > 1:
                        buffer[5] ^= 1

            return Reader()

    monkeypatch.setattr(tensorvalues, "_HELD_BYTES", 1000)
    with pytest.raises(DamagedError, match="not read twice as the same bytes"):
        encoded(Changing(), save({"w": tensors()["a.weight"].reshape(-1)[:2000].reshape(20, 100)}), CODECS[2])


@EACH
def test_however_many_tensors_a_codec_cannot_hold_the_model_is_read_twice(encoding):
    class Opened(MemoryStore):
        times = 0

        def reader(self, key):
            self.times += 1
            return super().reader(key)

    values, store = tensors(), Opened()
    values |= {f"l.{number}.mask": values["g.mask"] for number in range(9)}
    made = encoded(store, save(values), encoding)
    assert store.times == 2
    base = content.read_table(store, "models/base")
    found = as_the_hub_reads_it(store, made.object, base, encoding)
    for name, value in values.items():
        if name.endswith("mask"):
            assert found[name] == value.tobytes(), name


def test_what_does_not_travel_is_left_out():
    values = {"w": tensors()["a.weight"], "frozen": tensors(1)["a.weight"]}
    store = MemoryStore()
    made = encoded(store, save(values, {"fedloom": '{"frozen":["frozen"]}'}), CODECS[1])
    assert set(content.read_table(store, made.object.key).by_name()) == {"w"}
    assert made.plain_bytes == values["w"].nbytes


def test_it_ends_with_the_process():
    with pytest.raises(WorkCancelledError):
        encoded(MemoryStore(), save(tensors()), CODECS[0], lambda: True)


@EACH
def test_a_site_says_what_is_not_its_model(tmp_path, encoding):
    store, values = MemoryStore(), tensors()
    made = encoded(store, save(values), encoding)
    with pytest.raises(TaskInvalidError, match=f"encoded by {encoding.codec}, is not that of model.*l.new"):
        as_a_site_reads_it(tmp_path, store, made.object, values | {"l.new": values["i.bias"]}, encoding)
    path = tmp_path / "plain"
    path.write_bytes(save(values))
    with pytest.raises(TaskInvalidError, match="its metadata says no codec"):
        at_site.read(path, {name: torch.from_numpy(value) for name, value in values.items()}, encoding)


SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=40)
VALUES = st.floats(width=32, min_value=-(2.0**15), max_value=2.0**15, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(CODECS),
    values=arrays.arrays(np.float32, SHAPES, elements=VALUES, fill=VALUES),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_tensor_is_within_its_bounds(tmp_path_factory, encoding, values, seed):
    store = MemoryStore()
    made = encoded(store, save({"w": values}), encoding, seed=seed)
    found = as_a_site_reads_it(tmp_path_factory.mktemp("site"), store, made.object, {"w": values}, encoding)[
        "w"
    ].numpy()
    assert arithmetic.finite("F32", found.reshape(-1))
    if values.size:
        bound = {"Float16": 2.0**-11, "BFloat16": 2.0**-8, "Int8": 1.0 / 127}[encoding.codec]
        of = np.abs(values).max() if encoding.codec == "Int8" else np.abs(values)
        assert (np.abs(found.astype(np.float64) - values) <= bound * of * (1 + 1e-5) + 2.0**-24).all()
