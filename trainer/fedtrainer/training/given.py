"""The file of task.initialModel, and how a model takes it: a state dict of PyTorch, or safetensors. Called by initial.py.

The file is somebody else's. Its SHA-256 is compared before anything of it is parsed, a pickle is read as weights alone (no code of
it ever runs), and its tensors must be those of the task's own model: by name, shape and kind.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from fedtrainer.errors import BadSettingsError, TaskInvalidError
from fedtrainer.training import tensors
from fedtrainer.training.border import task_code

_SHOWN = 10  # tensors of each kind in one message
_LONGEST_HEADER = 100 << 20  # of safetensors, by their own library
FORM = "save it by torch.save(model.state_dict(), FILE), or as safetensors"


@dataclass(frozen=True)
class GivenModel:
    """Where it is, and the digest that it must have."""

    path: Path
    sha256: str

    def load_into(self, model: torch.nn.Module) -> None:
        """Gives the model the file's tensors. BadSettingsError says what of the file does not do, and names the tensors."""
        given = self._read()
        if different := difference(model.state_dict(), given):
            raise _bad(f"the file does not fit the task's model: {different}")
        text = "load_state_dict() does not take what task.initialModel has"
        with task_code("model()", lambda words: TaskInvalidError(f"{text}: {words}")):
            model.load_state_dict(given)

    def _read(self) -> Mapping[str, torch.Tensor]:
        try:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                begin = file.read(9)
        except OSError as error:
            raise _bad(f"{self.path} cannot be read ({error.strerror}): name a file of the task's image") from error
        if found != self.sha256:
            text = f"{self.path.name} has SHA-256 {found}, not {self.sha256}: nothing was read of it"
            raise BadSettingsError(f"task.initialModel.sha256: {text}")
        safe = begin[8:] == b"{" and int.from_bytes(begin[:8], "little") <= _LONGEST_HEADER
        return self._safetensors() if safe else self._pickled()

    def _safetensors(self) -> Mapping[str, torch.Tensor]:
        try:
            return tensors.read(self.path)
        except SafetensorError as error:
            raise _bad(f"the file is not whole safetensors: {error}") from error

    def _pickled(self) -> Mapping[str, torch.Tensor]:
        """As weights alone: what would run code is refused by torch, whatever it is."""
        mapped = zipfile.is_zipfile(self.path)  # else it is the old form, which cannot be mapped
        try:
            found = torch.load(str(self.path), map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:
            told = (str(error).strip().splitlines() or [""])[0][:300]
            raise _bad(f"the file cannot be read as weights alone ({type(error).__name__}: {told}): {FORM}") from error
        if not isinstance(found, Mapping) or not found:
            raise _bad(f"the file holds a {type(found).__name__}, no state dict: {FORM}")
        wrong = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
        if wrong:
            raise _bad(f"the file is no state dict: {_listed(wrong)} no tensors: {FORM}")
        return found


def difference(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """Which tensors are missing, too many, or of another shape or kind; empty when the model can take them."""
    said = []
    if missing := [name for name in own if name not in given]:
        said.append(f"it lacks {_listed(missing)}")
    if more := [str(name) for name in given if name not in own]:
        said.append(f"the model has no {_listed(more)}")
    both = [name for name in own if name in given]
    said += [
        f"{name!r} has shape {list(given[name].shape)}, the model's has {list(own[name].shape)}"
        for name in both
        if given[name].shape != own[name].shape
    ][:_SHOWN]
    said += [
        f"{name!r} is {given[name].dtype}, the model's is {own[name].dtype}"
        for name in both
        if given[name].is_floating_point() != own[name].is_floating_point() or given[name].is_complex()
    ][:_SHOWN]
    return "; ".join(said)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _bad(text: str) -> BadSettingsError:
    return BadSettingsError(f"task.initialModel: {text}")
