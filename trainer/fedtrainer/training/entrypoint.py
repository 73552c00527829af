"""From `package.module:factory` to a checked Task and model. Called by session.py and by init."""

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from fedapi.wire.seeds import derived
from fedtrainer.errors import DataMissing, TaskFailed, TaskImport, TaskInvalid, TrainerError
from fedtrainer.training.seeding import seed_everything
from fedtrainer.training.task import Task

log = logging.getLogger(__name__)


def load(entrypoint: str, args: Mapping[str, Any]) -> Task:
    """Imports the module and calls the factory. TaskImport says which of the two failed, and how."""
    module_name, _, factory_name = entrypoint.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        log.exception("task.entrypoint %s", entrypoint)
        raise TaskImport(
            f"task.entrypoint {entrypoint}: module {module_name} does not import: {_named(error)}"
        ) from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise TaskImport(f"task.entrypoint {entrypoint}: module {module_name} has no callable {factory_name!r}")
    try:
        task = factory(**args)
    except Exception as error:
        log.exception("task.entrypoint %s", entrypoint)
        raise TaskImport(
            f"task.entrypoint {entrypoint}: the factory fails with task.args {sorted(args)}: {_named(error)}"
        ) from error
    if not isinstance(task, Task):
        raise TaskInvalid(
            f"task.entrypoint {entrypoint} returned a {type(task).__name__}: return an instance of a fedtrainer.Task"
        )
    return task


def model_of(task: Task, seed: int) -> torch.nn.Module:
    """The task's model, initialized from the job's seed and checked."""
    seed_everything(derived(seed, "model"))
    with task_code("model()"):
        model = task.model()
    if not isinstance(model, torch.nn.Module):
        raise TaskInvalid(f"model() returned a {type(model).__name__}: return a torch.nn.Module")
    if not any(p.numel() for p in model.parameters()):
        raise TaskInvalid("model() has no parameters: there is nothing to train; register layers as attributes")
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise TaskInvalid(f"model(): state {name!r} is a {type(value).__name__}: only tensors can be averaged")
    return model


def check_alike(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], other: str = "the job's model"
) -> None:
    """TaskInvalid when names, shapes or types differ; names the first difference."""
    for name in sorted(ours.keys() | theirs.keys()):
        mine, their = _form(ours.get(name)), _form(theirs.get(name))
        if mine != their:
            raise TaskInvalid(
                f"model() has {name} as {mine}, {other} has {their}: model() must give the same names, shapes and "
                "types every time and at every site; a changed model needs a new job"
            )


@contextmanager
def task_code(what: str) -> Iterator[None]:
    """Around every call of a task: its exceptions become TaskFailed, missing files become DataMissing."""
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        log.exception("the task's %s raised", what)
        if what == "data()" and isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
            raise DataMissing(f"data(): {error}") from error
        if isinstance(error, NotImplementedError):
            raise TaskInvalid(f"{what}: {error}") from error
        raise TaskFailed(f"the task's {what} raised {_named(error)}") from error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _form(tensor: torch.Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
