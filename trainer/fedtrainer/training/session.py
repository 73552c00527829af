"""One rank's work on a task: load a model, evaluate it, train it, write its update. No network here but the ring.

Called by fedtrainer.agent with values and paths, at every rank of the site with the same arguments; what a rank has no
path for it gets from rank 0, or leaves to it. The only place that calls the user's Task.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo  # every optimizer loads it at its first step; here it is not counted as training

from fedapi.jsonvalue import JsonView
from fedapi.wire.job import TrainingSettings
from fedapi.wire.seeds import derived
from fedtrainer import termination
from fedtrainer.errors import DivergedError, TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import agreement, entrypoint, metrics, seeding, site_state, state, tensors
from fedtrainer.training.batches import size
from fedtrainer.training.border import task_code
from fedtrainer.training.context import Context, Ranks, Site
from fedtrainer.training.preserve import preserved
from fedtrainer.training.progress import Checkpoints
from fedtrainer.training.results import Data, EvalResult, TrainResult
from fedtrainer.training.state_files import OrderState

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption

CHECKPOINT_FILE, UPDATE_FILE = "checkpoint.safetensors", "update.safetensors"


@dataclass(frozen=True)
class Spec:
    """What a session works on."""

    entrypoint: str
    task_args: JsonView
    seed: int
    threads: int
    client: str
    data_dir: Path
    worker: int = 0  # number of the pod


@dataclass(frozen=True)
class Trained:
    """An update that rank 0 has written; at other ranks `file` is an empty one."""

    file: tensors.Written
    samples: int
    metrics: dict[str, float]
    training_s: float
    steps: int | None = None


class Session:
    """Holds the task and its model from round to round; every round starts from the bytes of the base model."""

    def __init__(self, spec: Spec, ring: Ring) -> None:
        seeding.make_repeatable(spec.threads)
        self._spec, self._ring = spec, ring
        workers = operations.each_rank(ring, float(spec.worker))
        self._ranks = Ranks(ring.rank, ring.size, tuple(map(int, workers)))
        self._task = entrypoint.load(spec.entrypoint, spec.task_args, spec.seed)
        self._model = entrypoint.model_of(self._task, spec.seed)
        with task_code("model()"):
            self._model.to(ring.device)
        agreement.same_model(ring, self._ranks, self._model.state_dict())
        self._base: dict[str, torch.Tensor] = {}
        self._order: OrderState | None = None
        self._state = site_state.SiteState({})

    def load(self, path: Path | None, order: OrderState | None = None) -> None:
        """Takes the model of a file, already verified, as base, and the site's state; without them, those of rank 0."""
        ours = self._model.state_dict()
        if path is not None:
            base = tensors.read(path)
            entrypoint.check_alike(ours, base)
        else:
            base = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in ours.items()}
        operations.broadcast_tensors(self._ring, base)
        self._base, self._order = base, order
        self._state = site_state.opened(order, self._ring)

    def data(self, round_: int) -> Data:
        """This site's data for a round. DataDiffers when it is not the same at all ranks.

        What a task draws for it depends on site and round alone, not on what the process has drawn before.
        """
        seeding.seed_everything(derived(self._spec.seed, "data", self._spec.client, round_))
        with task_code("data()"):
            data = self._task.data(self._site(round_))
            if not isinstance(data, Data):
                raise TaskInvalidError(f"data() returned a {type(data).__name__}: return fedtrainer.Data(train, test)")
        if self._ranks.size > 1:
            self._compare(data, round_)
        return data

    def evaluate(
        self, data: Data, round_: int, settings: TrainingSettings, stopped: Callable[[], bool]
    ) -> EvalResult | None:
        """Metrics of the base model on local test data; None when this site has none."""
        if data.test is None:
            return None
        self._reset()
        ctx = self._context(round_, "evaluate", None, settings, stopped)
        with preserved(self._model):
            return self._evaluated(data, settings, ctx)

    def train(
        self,
        data: Data,
        round_: int,
        settings: TrainingSettings,
        folder: Path | None,
        stopped: Callable[[], bool],
        keep: Callable[[Trained], object] = lambda _: None,
        encryption: "Encryption | None" = None,
    ) -> Trained:
        """Trains from the base and writes folder/update.safetensors. Dropped when `stopped`, DivergedError on NaN.

        SIGTERM ends it at the next step, with a checkpoint: Terminated here, RingBroken at the other ranks. `keep` is
        called once the update is written: what ends the evaluation that follows does not undo the training.
        """
        with termination.deferred():
            trained, ctx = self._train(data, round_, settings, folder, stopped, encryption)
            keep(trained)
            local = self._local_metrics(data, trained.samples, settings, ctx)
            return replace(trained, metrics=metrics.with_extras(trained.metrics, local))

    def _train(
        self,
        data: Data,
        round_: int,
        settings: TrainingSettings,
        folder: Path | None,
        stopped: Callable[[], bool],
        encryption: "Encryption | None",
    ) -> tuple[Trained, Context]:
        self._reset()
        ctx = self._context(round_, "train", folder, settings, stopped)
        ctx.epoch_generator(0)
        started = time.monotonic()
        with task_code("train()"), seeding.algorithms(settings.determinism), closing(ctx):
            result = self._task.train(self._model, data, settings, ctx)
            if not isinstance(result, TrainResult):
                raise TaskInvalidError(
                    f"train() returned a {type(result).__name__}: return TrainResult(samples, metrics)"
                )
            samples, found = metrics.samples(result.samples, "train()"), metrics.checked(result.metrics, "train()")
            steps = metrics.steps(result.steps, "train()")
        training_s = time.monotonic() - started
        agreement.same_result(self._ring, self._ranks, self._model, samples)
        agreement.settle(self._ring, self._model)
        file = self._written(folder, encryption)
        site_state.stage(self._order, ctx.state, file.sha256)
        return Trained(file, samples, found, training_s, steps), ctx

    def _written(self, folder: Path | None, encryption: "Encryption | None") -> tensors.Written:
        """Rank 0 writes the update, and tells the others when there is none to be had."""
        file, diverged = tensors.Written("", 0), ""
        if folder is not None:
            with task_code("state_dict()"):
                trained = self._model.state_dict()
                state.check(trained)
                local = tensors.on_host(trained)
            entrypoint.check_alike(local, self._base)
            try:
                file = tensors.write_delta(folder / UPDATE_FILE, local, self._base, encryption)
            except DivergedError as error:
                diverged = str(error)
        if diverged := operations.broadcast_text(self._ring, diverged):
            raise DivergedError(diverged)
        return file

    def _local_metrics(self, data: Data, samples: int, settings: TrainingSettings, ctx: Context) -> dict[str, float]:
        """The local model on local test data, where that costs less than the training did."""
        if not 0 < self._size(data.test) <= samples:
            return {}
        with preserved(self._model):
            found = self._evaluated(data, settings, ctx).metrics
        return {f"local_{name}": value for name, value in found.items()}

    def _evaluated(self, data: Data, settings: TrainingSettings, ctx: Context) -> EvalResult:
        ctx.epoch_generator(0)
        with task_code("evaluate()"), seeding.algorithms(settings.determinism):
            result = self._task.evaluate(self._model, data, settings, ctx)
            if not isinstance(result, EvalResult):
                raise TaskInvalidError(
                    f"evaluate() returned a {type(result).__name__}: return EvalResult(samples, metrics)"
                )
            samples, found = (
                metrics.samples(result.samples, "evaluate()"),
                metrics.checked(result.metrics, "evaluate()"),
            )
        return EvalResult(samples, found)

    def _size(self, part: Any) -> int:
        """Samples of a part of the data; 0 for what has a form of its own, for the task's own train and evaluate."""
        try:
            with task_code("data()"):
                return size(part, "data")
        except TaskInvalidError:
            return 0

    def _compare(self, data: Data, round_: int) -> None:
        sizes = {"training": self._size(data.train), "test": self._size(data.test)}
        seeding.seed_everything(derived(self._spec.seed, "compare", round_))  # a Dataset may change samples at random
        with task_code("data()"):
            content = agreement.content_of((data.train, data.test))
        agreement.same_data(self._ring, self._ranks, sizes, content)

    def _reset(self) -> None:
        with task_code("load_state_dict()"):
            self._model.load_state_dict(self._base)

    def _site(self, round_: int) -> Site:
        spec = self._spec
        return Site(spec.client, spec.data_dir, dict(os.environ), derived(spec.seed, "site", spec.client), round_)

    def _context(
        self, round_: int, purpose: str, folder: Path | None, settings: TrainingSettings, stopped: Callable[[], bool]
    ) -> Context:
        seed = derived(self._spec.seed, purpose, self._spec.client, round_)
        path = folder / CHECKPOINT_FILE if folder is not None else None
        progress = Checkpoints(path, settings.checkpoint_every_s, self._ring)
        return Context(self._site(round_), seed, progress, stopped, self._ring, self._state.copy(), self._ranks)
