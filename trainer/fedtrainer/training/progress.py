"""Local training state on the site's disk, so that a killed training goes on where it was. Used by session.py.

One file, which rank 0 reads and writes: tensors of model and optimizer, and as its metadata the JSON of the rest.
Never pickle. Random generators are not kept, because every epoch and every step seeds them anew (context.py).
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import agreement, tensors
from fedtrainer.training.context import Position
from fedtrainer.training.methods.method import NOTHING, Counts, Method

log = logging.getLogger(__name__)

BUFFERS = "buffers"  # of all ranks, beside names with the prefix `model.`, `optimizer.` or `method.`

Scalars = dict[str, dict[str, Any]]  # index of the parameter -> name -> number or None


class Checkpoints:
    """Keeps a training's state in `path`, at most once in `every_s` seconds. Ranks without a path get rank 0's."""

    def __init__(
        self,
        path: Path | None,
        every_s: float,
        ring: Ring,
        method: Method = NOTHING,
        frozen: frozenset[str] = frozenset(),  # tensors of the model that a training leaves as they are
    ) -> None:
        self._path, self._method, self._frozen = path, method, frozen
        self._every_s = every_s
        self._ring = ring
        self._last = time.monotonic()

    def load(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Puts the kept state into both, at every rank; where it is, (0, 0) when there is none or it is damaged."""
        rest, kept = self._read()
        rest = json.loads(operations.broadcast_text(self._ring, json.dumps(rest)))
        if not rest:
            return Position()
        if not kept:
            kept = tensors.empty(rest["forms"])
        operations.broadcast_tensors(self._ring, kept)
        try:
            values = {k.removeprefix("model."): v for k, v in kept.items() if k.startswith("model.")}
            model.load_state_dict(values, strict=not self._frozen)
            optimizer.load_state_dict(_joined(kept, rest["scalars"], optimizer))
            own = {k.removeprefix("method."): v for k, v in kept.items() if k.startswith("method.")}
            self._method.restore(Counts(*rest.get("method", ())), own)
            if BUFFERS in kept:
                agreement.restore_buffers(self._ring, model, kept[BUFFERS])
        except Exception:
            if self._path is not None:
                self._path.unlink()  # it does not fit the task: the next start must not meet it again
            raise
        log.info("goes on after epoch %d, step %d of an earlier process", rest["epoch"], rest["step"])
        return Position(rest["epoch"], rest["step"], rest["numbers"])

    def due(self) -> bool:
        """Whether the last state is old enough."""
        return self._path is not None and time.monotonic() - self._last >= self._every_s

    def save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int = 0, **numbers: float
    ) -> None:
        """Keeps the state after `epoch` epochs and `step` steps, unless the last one is recent."""
        if self.due():
            self.write(model, optimizer, Position(epoch, step, numbers), None)

    def write(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        position: Position,
        buffers: torch.Tensor | None,
    ) -> None:
        """Keeps a state durably, with the buffers of all ranks."""
        if self._path is None:
            return
        kept, scalars = _split(optimizer)
        trains = {name: tensor for name, tensor in model.state_dict().items() if name not in self._frozen}
        kept |= {f"model.{name}": tensor for name, tensor in trains.items()}
        kept |= {f"method.{name}": tensor for name, tensor in self._method.kept().items()}
        kept = tensors.on_host(kept) | ({} if buffers is None else {BUFFERS: buffers})
        rest = {**position._asdict(), "scalars": scalars}
        if self._method.wanted:
            rest["method"] = self._method.counts
        tensors.write(self._path, kept, metadata=json.dumps(rest), sync=True)
        self._last = time.monotonic()

    def _read(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        if self._path is None:
            return {}, {}
        try:
            with safe_open(self._path, "pt") as file:
                rest = json.loads(file.metadata()["fedloom"])
            kept = tensors.read(self._path)
            Position(rest["epoch"], rest["step"], rest["numbers"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            if self._path.exists():
                log.warning("checkpoint %s is damaged (%s): this round is trained again", self._path, error)
            return {}, {}
        return {**rest, "forms": {name: tensors.form(tensor) for name, tensor in kept.items()}}, kept


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
