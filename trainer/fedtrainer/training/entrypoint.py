"""From `package.module:factory` to a checked Task and model. Called by session.py and by init."""

import importlib
from collections.abc import Mapping

import torch

from fedapi.jsonvalue import JsonView
from fedapi.wire.seeds import derived
from fedtrainer.errors import TaskImportError, TaskInvalidError
from fedtrainer.training import state, submodels
from fedtrainer.training.border import task_code
from fedtrainer.training.seeding import seed_everything
from fedtrainer.training.submodels import WHOLE
from fedtrainer.training.task import Task


def load(entrypoint: str, args: JsonView, seed: int) -> Task:
    """Imports the module and calls the factory, with seeded generators. TaskImportError says which of the two failed, and how."""
    seed_everything(derived(seed, "task"))
    module_name, _, factory_name = entrypoint.partition(":")
    where = f"task.entrypoint {entrypoint}"
    with task_code("import", lambda words: TaskImportError(f"{where}: module {module_name} does not import: {words}")):
        module = importlib.import_module(module_name)
    with task_code("factory", lambda words: TaskImportError(f"{where}: {factory_name} cannot be read: {words}")):
        factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise TaskImportError(f"{where}: module {module_name} has no callable {factory_name!r}")
    given = f"{where}: the factory fails with task.args {sorted(args)}"
    with task_code("factory", lambda words: TaskImportError(f"{given}: {words}")):
        task = factory(**args)
        if not isinstance(task, Task):
            raise TaskInvalidError(f"{where} returned a {type(task).__name__}: return an instance of a fedtrainer.Task")
    return task


def model_of(task: Task, seed: int, width: float = WHOLE) -> torch.nn.Module:
    """The task's model, at a width, initialized from the job's seed and checked."""
    given = submodels.arguments(task, width)
    seed_everything(derived(seed, "model"))
    with task_code("model()"):
        model = task.model(**given)
        if not isinstance(model, torch.nn.Module):
            raise TaskInvalidError(f"model() returned a {type(model).__name__}: return a torch.nn.Module")
    with task_code("model()", lambda words: TaskInvalidError(f"what model() returned cannot be read: {words}")):
        state.prepare(model)
    return model


def check_alike(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], other: str = "the job's model"
) -> None:
    """TaskInvalid when names, shapes or types differ; names the first difference."""
    for name in sorted(ours.keys() | theirs.keys()):
        mine, their = _form(ours.get(name)), _form(theirs.get(name))
        if mine != their:
            raise TaskInvalidError(
                f"model() has {name} as {mine}, {other} has {their}: model() must give the same names, shapes and "
                "types every time and at every site; a changed model needs a new job"
            )


def _form(tensor: torch.Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
