"""Round 0: writes the initial model, which the aggregator commits first. Called by `init` in __main__."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from fedapi import names
from fedtrainer.errors import BadSettings, TaskInvalid
from fedtrainer.training import entrypoint, seeding, tensors

log = logging.getLogger(__name__)


def write_initial_model(spec: str, args: Mapping[str, object], seed: int, threads: int, folder: Path) -> None:
    """Builds the model from entrypoint, arguments and seed; writes it once, durably, by rename."""
    path = folder / names.INIT_MODEL_FILE
    if path.exists():
        log.info("%s is there already", path)
        return
    seeding.make_repeatable(threads)
    task = entrypoint.load(spec, args)
    state = entrypoint.model_of(task, seed).state_dict()
    entrypoint.check_alike(entrypoint.model_of(task, seed).state_dict(), state, "its first call")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise TaskInvalid(f"model(): {name} is not finite at initialization")
    try:
        written = tensors.write(path, state, sync=True)
    except OSError as error:
        raise BadSettings(f"initial model: {path} is not writable ({error.strerror})") from error
    log.info("wrote %s: %d bytes, sha256 %s", path, written.size, written.sha256)
