"""Round 0: writes the initial model, which the aggregator commits first. Called by `init` in __main__."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedtrainer.errors import BadSettingsError, TaskInvalidError
from fedtrainer.training import entrypoint, seeding, state, tensors
from fedtrainer.training.border import task_code
from fedtrainer.training.given import GivenModel
from fedtrainer.training.task import Task

log = logging.getLogger(__name__)


def write_initial_model(
    spec: str, args: JsonView, seed: int, threads: int, folder: Path, given: GivenModel | None = None
) -> None:
    """Builds the model from entrypoint, arguments and seed, gives it what is given; writes it once, durably, by rename."""
    path = folder / names.INIT_MODEL_FILE
    if path.exists():
        log.info("%s is there already", path)
        return
    seeding.make_repeatable(threads)
    task = entrypoint.load(spec, args, seed)
    model = entrypoint.model_of(task, seed)
    first = model.state_dict()
    _check_repeatable(task, seed, first)
    if given is not None:
        given.load_into(model)
        first = model.state_dict()
        state.check(first)
    state.check_finite(model)
    try:
        written = tensors.write(path, first, metadata=_metadata(model, first), sync=True)
    except OSError as error:
        raise BadSettingsError(f"initial model: {path} is not writable ({error.strerror})") from error
    log.info("wrote %s: %d bytes, sha256 %s", path, written.size, written.sha256)


def _metadata(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> str | None:
    """Names what of the state is no parameter, for strategies that step parameters; nothing where all of it is one.

    A parameter is known by its name, since a state_dict() of the task's own may give copies; under another name, as of a
    tied or renamed one, by its memory.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    memory = {parameter.data_ptr() for parameter in named.values()}
    buffers = sorted(name for name, tensor in state.items() if name not in named and tensor.data_ptr() not in memory)
    return json.dumps({"buffers": buffers}) if buffers else None


def _check_repeatable(task: Task, seed: int, first: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalid when a second model is not like the first, or does not take its state: a site does this every round."""
    again = entrypoint.model_of(task, seed)
    entrypoint.check_alike(again.state_dict(), first, "its first call")
    given = "load_state_dict() does not take what state_dict() gives"
    with task_code(
        "model()", lambda words: TaskInvalidError(f"{given}: {words}: a model must take back its own state")
    ):
        again.load_state_dict(first)
