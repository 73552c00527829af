"""One process's work on a task: load a model, evaluate it, train it, write its update. No network here.

Called by fedtrainer.agent.work with values and paths; the only place that calls the user's Task.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch._dynamo  # every optimizer loads it at its first step; here it is not counted as training

from fedapi.wire.job import TrainingSettings
from fedapi.wire.seeds import derived
from fedtrainer.errors import TaskInvalid
from fedtrainer.training import entrypoint, seeding, tensors
from fedtrainer.training.batches import size
from fedtrainer.training.context import Context, Site
from fedtrainer.training.metrics import checked, with_extras
from fedtrainer.training.progress import EpochFile
from fedtrainer.training.task import Data, EvalResult, TrainResult


@dataclass(frozen=True)
class Spec:
    """What a session works on."""

    entrypoint: str
    task_args: Mapping[str, object]
    seed: int
    threads: int
    client: str
    data_dir: Path
    checkpoint_every_s: float


@dataclass(frozen=True)
class Trained:
    """An update that was written."""

    file: tensors.Written
    samples: int
    metrics: dict[str, float]
    training_s: float


class Session:
    """Holds the task and its model from round to round; every round starts from the bytes of the base model."""

    def __init__(self, spec: Spec) -> None:
        seeding.make_repeatable(spec.threads)
        self._spec = spec
        self._task = entrypoint.load(spec.entrypoint, spec.task_args)
        self._device = seeding.device()
        self._model = entrypoint.model_of(self._task, spec.seed).to(self._device)
        self._base: dict[str, torch.Tensor] = {}

    def load(self, path: Path) -> None:
        """Takes the model of a file, already verified, as base."""
        base = tensors.read(path)
        entrypoint.check_alike(self._model.state_dict(), base)
        self._base = base

    def data(self, round_: int) -> Data:
        """This site's data for a round."""
        with entrypoint.task_code("data()"):
            data = self._task.data(self._site(round_))
        if not isinstance(data, Data):
            raise TaskInvalid(f"data() returned a {type(data).__name__}: return fedtrainer.Data(train, test)")
        return data

    def evaluate(
        self, data: Data, round_: int, settings: TrainingSettings, stopped: Callable[[], bool]
    ) -> EvalResult | None:
        """Metrics of the base model on local test data; None when this site has none."""
        if data.test is None:
            return None
        self._reset()
        ctx = self._context(round_, "evaluate", None, stopped)
        ctx.epoch_generator(0)
        with entrypoint.task_code("evaluate()"):
            result = self._task.evaluate(self._model, data, settings, ctx)
        if not isinstance(result, EvalResult):
            raise TaskInvalid(f"evaluate() returned a {type(result).__name__}: return EvalResult(samples, metrics)")
        return replace(result, metrics=checked(result.metrics, "evaluate()"))

    def train(
        self, data: Data, round_: int, settings: TrainingSettings, folder: Path, stopped: Callable[[], bool]
    ) -> Trained:
        """Trains from the base and writes folder/update.safetensors. Dropped when `stopped`, Diverged on NaN."""
        self._reset()
        ctx = self._context(round_, "train", folder / "epoch.safetensors", stopped)
        ctx.epoch_generator(0)
        started = time.monotonic()
        with entrypoint.task_code("train()"):
            result = self._task.train(self._model, data, settings, ctx)
        training_s = time.monotonic() - started
        if not isinstance(result, TrainResult) or result.samples < 0:
            raise TaskInvalid(f"train() returned {result!r}: return TrainResult(samples, metrics) with samples >= 0")
        entrypoint.check_alike(self._model.state_dict(), self._base)
        file = tensors.write_delta(folder / "update.safetensors", self._model.state_dict(), self._base)
        own = checked(result.metrics, "train()")
        metrics = with_extras(own, self._local_metrics(data, result.samples, settings, ctx))
        return Trained(file, result.samples, metrics, training_s)

    def _local_metrics(self, data: Data, samples: int, settings: TrainingSettings, ctx: Context) -> dict[str, float]:
        """The local model on local test data, where that costs less than the training did."""
        try:
            cheap = 0 < size(data.test, "test") <= samples
        except TaskInvalid:  # a task with its own train and evaluate may hold its data in any form
            cheap = False
        if not cheap:
            return {}
        with entrypoint.task_code("evaluate()"):
            result = self._task.evaluate(self._model, data, settings, ctx)
        return {f"local_{name}": value for name, value in checked(result.metrics, "evaluate()").items()}

    def _reset(self) -> None:
        self._model.load_state_dict(self._base)

    def _site(self, round_: int) -> Site:
        spec = self._spec
        return Site(spec.client, spec.data_dir, dict(os.environ), derived(spec.seed, "site", spec.client), round_)

    def _context(self, round_: int, purpose: str, file: Path | None, stopped: Callable[[], bool]) -> Context:
        seed = derived(self._spec.seed, purpose, self._spec.client, round_)
        progress = EpochFile(file, self._spec.checkpoint_every_s) if file else NoProgress()
        return Context(self._site(round_), self._device, seed, progress, stopped)


class NoProgress:
    """Keeps nothing: for evaluation."""

    def load(self, _model: torch.nn.Module, _optimizer: torch.optim.Optimizer) -> int:
        """Nothing is kept."""
        return 0

    def save(self, _model: torch.nn.Module, _optimizer: torch.optim.Optimizer, _epochs: int) -> None:
        """Keeps nothing."""
