"""Update and model files: what safetensors reads, the bytes that are hashed, what is refused."""

import hashlib
import json
import resource
from contextlib import contextmanager
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load_file

from fedcore.tensors import integers, tensorfile
from fedtrainer.errors import DivergedError, TaskInvalidError
from fedtrainer.training import overwriting, tensors

STATE = {
    "z.weight": torch.arange(600_000, dtype=torch.float32).reshape(2, 300_000),
    "a.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "n.count": torch.tensor(7),
    "e.empty": torch.zeros(0, 3),
    "m.mask": torch.tensor([True, False, True]),
    "t.transposed": torch.arange(6.0).reshape(2, 3).T,
    "s.strided": torch.arange(12.0).reshape(6, 2)[:, 0],
    "u.wide": torch.tensor([0, 65535, 7], dtype=torch.int32).to(torch.uint16),
    "u.wider": torch.tensor([2**63 - 1, 0]).to(torch.uint64),
}


def test_a_written_file_is_what_safetensors_reads(tmp_path):
    path = tmp_path / "model.safetensors"
    written = tensors.write(path, STATE)
    content = path.read_bytes()
    assert (written.sha256, written.size) == (hashlib.sha256(content).hexdigest(), len(content))
    for read in (load_file(path), tensors.read(path)):
        assert read.keys() == STATE.keys()
        assert all(torch.equal(read[name], STATE[name]) and read[name].dtype == STATE[name].dtype for name in STATE)


@contextmanager
def file_size_limit(size):
    """Files take no byte beyond it: a write takes a part, and only the next one fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_for_whose_last_byte_there_is_no_room_is_none(tmp_path):
    size = tensors.write(tmp_path / "whole", STATE).size
    with file_size_limit(size - 1), pytest.raises(OSError, match="too large"):
        tensors.write(tmp_path / "model", STATE)
    assert not (tmp_path / "model").exists()
    content = bytes(size)
    with file_size_limit(size - 1), pytest.raises(OSError, match="too large"):
        overwriting.write(tmp_path / "model", content)


def test_equal_tensors_give_equal_bytes(tmp_path):
    one = tensors.write(tmp_path / "one", STATE)
    two = tensors.write(tmp_path / "two", dict(reversed(STATE.items())))
    assert one == two


def test_a_site_writes_what_the_hub_writes(tmp_path):
    """Of the same tensors the same bytes: header, order, padding."""
    tensors.write(tmp_path / "model", STATE)
    content = (tmp_path / "model").read_bytes()
    end = tensorfile.PREFIX_BYTES + tensorfile.header_size(content[: tensorfile.PREFIX_BYTES], len(content))
    found = tensorfile.parsed(content[tensorfile.PREFIX_BYTES : end], len(content))
    header, table = tensorfile.canonical_header(reversed(found.tensors))
    assert (header, table) == (content[:end], found)
    widths = [tensorfile.ITEM_BYTES[tensor.dtype] for tensor in found.tensors]
    assert widths == sorted(widths, reverse=True), "aligned for who maps the file"
    for tensor in found.tensors:
        assert content[tensor.begin : tensor.end] == bytes(tensors.bytes_of(STATE[tensor.name]))


def test_an_update_in_the_order_of_version_0_1_is_read_alike(tmp_path):
    """Sorted by name, as trainers wrote it before."""
    entries, body = {}, b""
    for name in sorted(STATE):
        data = bytes(tensors.bytes_of(STATE[name]))
        shape, dtype = list(STATE[name].shape), tensors.DTYPES[STATE[name].dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text + body
    old = tensorfile.parsed(text, len(content))
    written = tensors.write(tmp_path / "new", STATE)
    new = (tmp_path / "new").read_bytes()
    table = tensorfile.parsed(new[8 : 8 + tensorfile.header_size(new[:8], written.size)], written.size)
    assert tensorfile.difference(old, table) == ""
    for name, tensor in old.by_name().items():
        theirs = table.by_name()[name]
        assert content[tensor.begin : tensor.end] == new[theirs.begin : theirs.end]


def test_delta(tmp_path):
    local = {name: t if t.dtype == torch.bool or name[0] == "u" else t + 1 for name, t in STATE.items()}
    tensors.write_delta(tmp_path / "delta", local, STATE)
    delta = load_file(tmp_path / "delta")
    assert delta.keys() == STATE.keys()
    for name, tensor in delta.items():
        assert tensor.dtype == STATE[name].dtype
        if local[name] is STATE[name]:
            assert not tensor.to(torch.float64).any()
        else:
            assert torch.equal(tensor, local[name] - STATE[name])


KINDS = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64]


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_finds_the_mean_of_integers(tmp_path, kind):
    base, sites = [100, 128, 50], ([100, 127, 0], [101, 1, 100])
    for n, values in enumerate(sites):
        tensors.write_delta(tmp_path / f"{n}", {"w": torch.tensor(values).to(kind)}, {"w": torch.tensor(base).to(kind)})
    updates = [next(iter(load_file(tmp_path / f"{n}").values())).numpy() for n in range(len(sites))]
    start = torch.tensor(base).to(kind).numpy()
    terms = [(Fraction(1, 2), update) for update in updates]
    assert integers.averaged(start, terms).tolist() == [100, 64, 50]


MASK = torch.tensor([0.0, float("-inf"), float("nan")])


def test_constants_that_are_not_finite_do_not_change(tmp_path):
    tensors.write_delta(tmp_path / "delta", {"m": MASK + torch.tensor([1.0, 0, 0])}, {"m": MASK})
    assert load_file(tmp_path / "delta")["m"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("local", "error"),
    [
        ([0, 0, float("nan")], TaskInvalidError),
        ([0, float("inf"), float("nan")], TaskInvalidError),
        ([float("inf")], DivergedError),
    ],
)
def test_constants_that_changed(tmp_path, local, error):
    with pytest.raises(error, match="'m'"):
        tensors.write_delta(tmp_path / "delta", {"m": torch.tensor([*local, *MASK[len(local) :]])}, {"m": MASK})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_delta_that_is_not_finite(tmp_path, value):
    with pytest.raises(DivergedError, match="'w'"):
        tensors.write_delta(tmp_path / "delta", {"w": torch.tensor([1.0, value])}, {"w": torch.zeros(2)})
    assert not (tmp_path / "delta").exists()


def test_a_sum_that_overflows_is_no_divergence(tmp_path):
    large = torch.full((3,), 3e38)
    tensors.write_delta(tmp_path / "delta", {"w": large}, {"w": torch.zeros(3)})
    assert torch.equal(load_file(tmp_path / "delta")["w"], large)


@pytest.mark.parametrize(
    ("local", "base", "words"),
    [
        (torch.tensor([True]), torch.tensor([False]), "bool and changed"),
        (torch.tensor([1j]), torch.tensor([0j]), "complex64"),
    ],
)
def test_tensors_without_a_mean(tmp_path, local, base, words):
    with pytest.raises(TaskInvalidError, match=words):
        tensors.write_delta(tmp_path / "delta", {"w": local}, {"w": base})
