"""Local training state on the site's disk, so that a killed training goes on where it was. Used by session.py.

One file: tensors of model and optimizer, and as its metadata the JSON of the rest. Never pickle. Random
generators are not kept, because every epoch seeds them anew (context.py).
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fedtrainer.training import tensors

log = logging.getLogger(__name__)

Scalars = dict[str, dict[str, Any]]  # index of the parameter -> name -> number or None


class EpochFile:
    """Keeps the state after an epoch in `path`, at most once in `every_s` seconds."""

    def __init__(self, path: Path, every_s: float) -> None:
        self._path = path
        self._every_s = every_s
        self._last = time.monotonic()

    def load(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Puts the kept state into both; returns its epochs, 0 when there is none or it is damaged."""
        try:
            with safe_open(self._path, "pt") as file:
                rest = json.loads(file.metadata()["fedloom"])
            kept = tensors.read(self._path)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            if self._path.exists():
                log.warning("checkpoint %s is damaged (%s): this round is trained again", self._path, error)
            return 0
        try:
            model.load_state_dict({k.removeprefix("model."): v for k, v in kept.items() if k.startswith("model.")})
            optimizer.load_state_dict(_joined(kept, rest["scalars"], optimizer))
        except Exception:
            self._path.unlink()  # it does not fit the task: the next start must not meet it again
            raise
        log.info("goes on after epoch %d of an earlier process", rest["epochs"])
        return int(rest["epochs"])

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        """Keeps the state after `epochs` epochs, unless the last one is recent."""
        if time.monotonic() - self._last < self._every_s:
            return
        state, scalars = _split(optimizer)
        state |= {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors.write(self._path, state, metadata=json.dumps({"epochs": epochs, "scalars": scalars}), sync=True)
        self._last = time.monotonic()


def _split(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Scalars]:
    state: dict[str, torch.Tensor] = {}
    scalars: Scalars = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                state[f"optimizer.{index}.{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    return state, scalars


def _joined(kept: dict[str, torch.Tensor], scalars: Scalars, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in scalars.items()}
    for key, tensor in kept.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor.clone()  # the file may be replaced under a memory map
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
