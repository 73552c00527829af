"""Round 0: writes the initial model, which the aggregator commits first. Called by `init` in __main__."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedapi.wire.training import TrainingSettings
from fedcore.tensors.submodels import Shapes
from fedtrainer.errors import BadSettingsError, TaskInvalidError
from fedtrainer.training import entrypoint, exchange, seeding, state, submodels, tensors
from fedtrainer.training.border import task_code
from fedtrainer.training.exchange import Exchange
from fedtrainer.training.given import GivenModel
from fedtrainer.training.task import Task

log = logging.getLogger(__name__)


def write_initial_model(
    spec: str,
    args: JsonView,
    seed: int,
    threads: int,
    folder: Path,
    given: GivenModel | None = None,
    training: TrainingSettings = exchange.OF_ALL,
    widths: Iterable[float] = (),
) -> None:
    """Builds the model from entrypoint, arguments and seed, gives it what is given; writes it once, durably, by rename.

    `training`: for its patterns of tensors that travel, and of those that stay. `widths`: of the sub-models that sites may train.
    """
    path = folder / names.INIT_MODEL_FILE
    if path.exists():
        log.info("%s is there already", path)
        return
    seeding.make_repeatable(threads)
    task = entrypoint.load(spec, args, seed)
    model = entrypoint.model_of(task, seed)
    first = model.state_dict()
    entries = state.parameters(model, first)
    found = exchange.exchange(first, entries, exchange.trained(model, entries), training)
    narrow = {width: _narrow(task, seed, width, first, found, training) for width in widths}
    _check_repeatable(task, seed, first)
    if given is not None:
        given.load_into(model)
        first = model.state_dict()
        state.check(first)
    state.check_finite(model)
    try:
        said = exchange.metadata(found, first.keys() - entries.keys(), narrow)
        written = tensors.write(path, first, metadata=said, sync=True)
    except OSError as error:
        raise BadSettingsError(f"initial model: {path} is not writable ({error.strerror})") from error
    log.info("wrote %s: %d bytes, sha256 %s", path, written.size, written.sha256)


def _narrow(
    task: Task, seed: int, width: float, whole: Mapping[str, torch.Tensor], found: Exchange, training: TrainingSettings
) -> Shapes:
    """Which tensors of a sub-model are smaller. TaskInvalidError where it is none, or other tensors of it train."""
    model = entrypoint.model_of(task, seed, width)
    its = model.state_dict()
    shapes = submodels.smaller(whole, its, width)
    entries = state.parameters(model, its)
    same = exchange.exchange(its, entries, exchange.trained(model, entries), training)
    if other := sorted((same.frozen ^ found.frozen) | (same.local ^ found.local)):
        raise TaskInvalidError(
            f"model(width={width}) freezes tensor {other[0]!r} where model() does not, or the other way round: what trains is the "
            "same at every width"
        )
    return shapes


def _check_repeatable(task: Task, seed: int, first: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalid when a second model is not like the first, or does not take its state: a site does this every round."""
    again = entrypoint.model_of(task, seed)
    entrypoint.check_alike(again.state_dict(), first, "its first call")
    given = "load_state_dict() does not take what state_dict() gives"
    with task_code(
        "model()", lambda words: TaskInvalidError(f"{given}: {words}: a model must take back its own state")
    ):
        again.load_state_dict(first)
