"""task.initialModel: what of a file becomes the first model, and what is refused, before it is parsed or without running it."""

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fedtrainer.errors import BadSettingsError
from fedtrainer.training.given import GivenModel


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def trained():
    """Another model of the same kind, with other numbers."""
    torch.manual_seed(2)
    return {name: value + 1 for name, value in model().state_dict().items()}


def given(path):
    return GivenModel(path, hashlib.sha256(path.read_bytes()).hexdigest())


def as_pt(state, path):
    torch.save(state, path)


def as_old_pt(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def as_half(state, path):
    torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, path)


@pytest.mark.parametrize("write", [as_pt, as_old_pt, save_file, as_half])
def test_a_state_dict_of_any_form_becomes_the_model(tmp_path, write):
    path = tmp_path / "model.bin"
    write(trained(), path)
    into = model()
    given(path).load_into(into)
    for name, value in into.state_dict().items():
        assert torch.allclose(value, trained()[name], atol=1e-3), name
        assert value.dtype == model().state_dict()[name].dtype


def test_the_digest_is_compared_before_anything_is_parsed(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(
        BadSettingsError, match=r"task\.initialModel\.sha256: model\.pt has SHA-256 [0-9a-f]{64}, not 0"
    ):
        GivenModel(path, "0" * 64).load_into(model())
    assert not (tmp_path / "ran").exists()


class Runs:
    """A pickle with code in it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def hostile_zip(path, ran):
    as_pt({"0.weight": torch.zeros(2, 3)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, pickle.dumps(Runs(ran)) if name.endswith("data.pkl") else data)


def hostile_old(path, ran):
    file = io.BytesIO()
    torch.save({"a": Runs(ran)}, file, _use_new_zipfile_serialization=False)
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize(
    "write", [hostile_zip, hostile_old, lambda path, ran: path.write_bytes(pickle.dumps(Runs(ran)))]
)
def test_code_in_a_file_never_runs(tmp_path, write):
    path, ran = tmp_path / "model.pt", tmp_path / "ran"
    write(path, ran)
    with pytest.raises(BadSettingsError, match="cannot be read as weights alone"):
        given(path).load_into(model())
    assert not ran.exists()


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


UNFIT = [
    (without(trained(), "0.bias", "1.running_mean"), "it lacks '0.bias', '1.running_mean'"),
    (trained() | {"head.weight": torch.zeros(1)}, "the model has no 'head.weight'"),
    (trained() | {"0.weight": torch.zeros(3, 2)}, "'0.weight' has shape [3, 2], the model's has [2, 3]"),
    (
        trained() | {"0.bias": torch.zeros(2, dtype=torch.int64)},
        "'0.bias' is torch.int64, the model's is torch.float32",
    ),
]
NO_STATE_DICT = [
    ({"state_dict": trained()}, "'state_dict' no tensors"),
    ([torch.zeros(1)], "holds a list, no state dict"),
    ({}, "holds a dict, no state dict"),
]


@pytest.mark.parametrize(
    ("write", "state", "told"),
    [*((as_pt, *each) for each in UNFIT + NO_STATE_DICT), *((save_file, *each) for each in UNFIT)],
)
def test_a_file_that_does_not_fit_is_refused_by_the_names_of_its_tensors(tmp_path, write, state, told):
    path = tmp_path / "model.bin"
    write(state, path)
    before = {name: value.clone() for name, value in model().state_dict().items()}
    into = model()
    with pytest.raises(BadSettingsError) as error:
        given(path).load_into(into)
    assert told in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in into.state_dict().items())


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"\x80\x02.", b'\x10\0\0\0\0\0\0\0{"a": {"dtype"', b"PK\x03\x04"]
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(BadSettingsError, match=r"task\.initialModel: the file"):
        given(path).load_into(model())


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadSettingsError, match="name a file of the task's image"):
        GivenModel(Path("/nowhere/model.pt"), "0" * 64).load_into(model())
