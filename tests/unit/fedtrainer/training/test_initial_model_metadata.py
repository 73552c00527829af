"""What the initial model's file says of its tensors: which are no parameters."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fedcore.tensors import tensorfile
from fedtrainer.training import tensors
from fedtrainer.training.initial import write_initial_model
from tests.unit.fedtrainer.training.sessions import Given


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        self.head = torch.nn.Linear(4, 3, bias=False)
        self.tied = self.body[0].weight
        self.register_buffer("mask", torch.ones(2))


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Writes the initial model of a class, and says where it is."""

    def write(model, name="init") -> Path:
        module = ModuleType("task_with_buffers")
        module.task = lambda: Given(model, None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        write_initial_model("task_with_buffers:task", {}, 7, 1, tmp_path / name)
        return tmp_path / name / "model.safetensors"

    return write


def table(path: Path) -> tensorfile.TensorFile:
    data = path.read_bytes()
    size = tensorfile.header_size(data[:8], len(data))
    return tensorfile.parsed(data[8 : 8 + size], len(data))


def test_buffers_are_named(written):
    file = table(written(Net))
    batch = {"body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"}
    assert file.buffers == batch | {"mask"}
    assert {tensor.name for tensor in file.tensors} - file.buffers == {
        name for name, _ in Net().named_parameters(remove_duplicate=False)
    }


class Copied(Net):
    """Gives copies, as a module does that moves or unwraps its state."""

    def state_dict(self, *args, **values):
        return {name: tensor.clone() for name, tensor in super().state_dict(*args, **values).items()}


class Renamed(Net):
    """Gives its own tensors under names of its own."""

    def state_dict(self, *args, **values):
        return {f"net.{name}": tensor for name, tensor in super().state_dict(*args, **values).items()}

    def load_state_dict(self, state_dict, *args, **values):
        given = {name.removeprefix("net."): tensor for name, tensor in state_dict.items()}
        return super().load_state_dict(given, *args, **values)


@pytest.mark.parametrize(("model", "prefix"), [(Copied, ""), (Renamed, "net.")])
def test_buffers_are_named_in_a_state_of_the_task_s_own_making(written, model, prefix):
    assert table(written(model)).buffers == {f"{prefix}{name}" for name in table(written(Net, "as-it-is")).buffers}


def test_a_model_of_parameters_alone_has_no_metadata(written, tmp_path):
    path = written(lambda: torch.nn.Linear(3, 2))
    read = tensors.read(path)
    tensors.write(tmp_path / "plain", read)
    assert path.read_bytes() == (tmp_path / "plain").read_bytes()
