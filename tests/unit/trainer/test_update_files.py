"""Update and model files: what safetensors reads, the bytes that are hashed, what is refused."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file

from fedtrainer.errors import Diverged, TaskInvalid
from fedtrainer.training import tensors

STATE = {
    "z.weight": torch.arange(600_000, dtype=torch.float32).reshape(2, 300_000),
    "a.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "n.count": torch.tensor(7),
    "e.empty": torch.zeros(0, 3),
    "m.mask": torch.tensor([True, False, True]),
    "t.transposed": torch.arange(6.0).reshape(2, 3).T,
}


def test_a_written_file_is_what_safetensors_reads(tmp_path):
    path = tmp_path / "model.safetensors"
    written = tensors.write(path, STATE)
    content = path.read_bytes()
    assert (written.sha256, written.size) == (hashlib.sha256(content).hexdigest(), len(content))
    for read in (load_file(path), tensors.read(path)):
        assert read.keys() == STATE.keys()
        assert all(torch.equal(read[name], STATE[name]) and read[name].dtype == STATE[name].dtype for name in STATE)


def test_equal_tensors_give_equal_bytes(tmp_path):
    one = tensors.write(tmp_path / "one", STATE)
    two = tensors.write(tmp_path / "two", dict(reversed(STATE.items())))
    assert one == two


def test_delta(tmp_path):
    local = {name: t + 1 if t.dtype != torch.bool else t for name, t in STATE.items()}
    tensors.write_delta(tmp_path / "delta", local, STATE)
    delta = load_file(tmp_path / "delta")
    for name, tensor in delta.items():
        assert tensor.dtype == STATE[name].dtype
        assert torch.equal(tensor, local[name] - STATE[name] if tensor.dtype != torch.bool else tensor & False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_delta_that_is_not_finite(tmp_path, value):
    with pytest.raises(Diverged, match="'w'"):
        tensors.write_delta(tmp_path / "delta", {"w": torch.tensor([1.0, value])}, {"w": torch.zeros(2)})
    assert not (tmp_path / "delta").exists()


def test_a_sum_that_overflows_is_no_divergence(tmp_path):
    large = torch.full((3,), 3e38)
    tensors.write_delta(tmp_path / "delta", {"w": large}, {"w": torch.zeros(3)})


@pytest.mark.parametrize(
    ("local", "base", "words"),
    [
        (torch.tensor([True]), torch.tensor([False]), "bool and changed"),
        (torch.tensor([1j]), torch.tensor([0j]), "complex64"),
    ],
)
def test_tensors_without_a_mean(tmp_path, local, base, words):
    with pytest.raises(TaskInvalid, match=words):
        tensors.write_delta(tmp_path / "delta", {"w": local}, {"w": base})
