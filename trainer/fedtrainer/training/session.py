"""One rank's work on a task: load a model, evaluate it, train it, write its update. No network here but the ring.

Called by fedtrainer.agent with values and paths, at every rank of the site with the same arguments; what a rank has no
path for it gets from rank 0, or leaves to it. The only place that calls the user's Task.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from fedapi.jsonvalue import JsonView
from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.seeds import derived
from fedapi.wire.training import TrainingSettings
from fedtrainer import termination
from fedtrainer.errors import TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import (
    agreement,
    decoding,
    entrypoint,
    exchange,
    fragments,
    hub_state,
    metrics,
    seeding,
    site_state,
    state,
    submodels,
    tensors,
)
from fedtrainer.training.batches import size
from fedtrainer.training.border import task_code
from fedtrainer.training.context import Context, Ranks, Site
from fedtrainer.training.dpsgd.opening import opened
from fedtrainer.training.encoding import Encoder
from fedtrainer.training.methods import method as methods
from fedtrainer.training.methods.method import NOTHING, Method
from fedtrainer.training.preserve import preserved
from fedtrainer.training.progress import Checkpoints
from fedtrainer.training.releases import Protection
from fedtrainer.training.results import Data, EvalResult, TrainResult
from fedtrainer.training.state_files import OrderState
from fedtrainer.training.submodels import WHOLE
from fedtrainer.training.writing import Trained, Writer

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
LOCAL = "local"  # part of the site's state: the tensors of the model that stay here


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


class Session:
    """Holds the task and its model from round to round; every round starts from the bytes of the base model."""

    def __init__(self, spec: Spec, ring: Ring) -> None:
        seeding.make_repeatable(spec.threads)
        self._spec, self._ring = spec, ring
        workers = operations.each_rank(ring, float(spec.worker))
        self._ranks = Ranks(ring.rank, ring.size, tuple(map(int, workers)))
        self._task = entrypoint.load(spec.entrypoint, spec.task_args, spec.seed)
        self._make(WHOLE)
        self._base: dict[str, torch.Tensor] = {}
        self._exchange = exchange.ALL
        self._order: OrderState | None = None
        self._hub_state: Path | None = None
        self._state = site_state.SiteState({})

    def _make(self, width: float) -> None:
        """The model at a width, the same at every rank."""
        self._width, self._model = width, entrypoint.model_of(self._task, self._spec.seed, width)
        self._initial = ""  # which initial model all ranks have the frozen tensors of, in the shapes of the model
        self._entries = state.parameters(self._model, self._model.state_dict())
        self._trains = exchange.trained(self._model, self._entries)
        with task_code("model()"):
            self._model.to(self._ring.device)
        agreement.same_model(self._ring, self._ranks, self._model.state_dict())

    def load(
        self,
        path: Path | None,
        order: OrderState | None = None,
        hub_state: Path | None = None,
        initial: Path | None = None,
        training: TrainingSettings = exchange.OF_ALL,
        encoding: Encoding | None = None,
    ) -> None:
        """Takes the model of a file, already verified, as base, the site's state and the hub's; without them, those of rank 0.

        `initial`: where the model is the tensors that travel alone, the file with the others. `training`: at every rank; the
        model becomes that of its width. `encoding`: of the file: what it decodes to is the base.
        """
        if (width := training.model_width or WHOLE) != self._width:
            self._make(width)
        ours, known = self._model.state_dict(), self._initial
        if path is not None and width != WHOLE:
            submodels.agreed(ours, width, initial)
        self._exchange = self._exchanged(initial, training)
        held = (
            {name: self._base[name] for name in self._exchange.frozen}
            if self._initial and known == self._initial
            else {}
        )
        if path is not None:
            model = decoding.model(path, encoding, initial, ours, self._exchange) if encoding else tensors.read(path)
            base = exchange.joined(initial, model, self._exchange, ours) if initial else model
            entrypoint.check_alike(ours, base)
        else:
            base = {n: torch.empty(t.shape, dtype=t.dtype) for n, t in ours.items() if n not in held}
        operations.broadcast_tensors(self._ring, {name: t for name, t in base.items() if name not in held})
        base |= held
        self._base, self._order, self._hub_state = base, order, hub_state
        self._state = site_state.opened(order, self._ring)
        if self._exchange.local and (own := self._state.part(LOCAL)):
            submodels.check_own(ours, own)
            entrypoint.check_alike({name: ours[name] for name in self._exchange.local}, own, "the site's state")
            self._base = base | own

    def _exchanged(self, initial: Path | None, training: TrainingSettings) -> exchange.Exchange:
        """Which tensors travel, at every rank; what does not train has no gradient from here on."""
        names = self._model.state_dict().keys()
        own = exchange.exchange(names, self._entries, self._trains, training)
        self._initial = operations.broadcast_text(self._ring, initial.name if initial is not None else "")
        if not self._initial:
            exchange.told(own, training)
            return exchange.ALL
        if initial is not None:
            exchange.agreed(own, initial)
        parameters = dict(self._model.named_parameters())
        for entry in own.frozen & self._entries.keys():
            parameters[self._entries[entry]].requires_grad_(False)
        return own

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
        ctx = self._context(round_, "evaluate", None, settings, stopped, NOTHING)
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
        encryption: "Mapping[str, Encryption]" = MappingProxyType({}),
        compression: Compression | None = None,
        protection: Protection | None = None,
    ) -> Trained:
        """Trains from the base and writes folder/update.safetensors, and other payloads beside it, each encrypted by its own.

        `protection`: of rank 0, where the site adds noise. DroppedError when `stopped`, DivergedError on NaN.

        SIGTERM ends it at the next step, with a checkpoint: Terminated here, RingBroken at the other ranks. `keep` is
        called once the update is written: what ends the evaluation that follows does not undo the training.
        """
        with termination.deferred():
            trained, ctx = self._train(data, round_, settings, folder, stopped, encryption, compression, protection)
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
        encryption: "Mapping[str, Encryption]",
        compression: Compression | None,
        protection: Protection | None,
    ) -> tuple[Trained, Context]:
        own = self._state.copy()
        entries = {entry: name for entry, name in self._entries.items() if self._exchange.travels(entry)}
        travels = {name: value for name, value in self._base.items() if self._exchange.travels(name)}
        sent = fragments.sent(travels, entries, settings, round_)
        held = {name: value for name, value in travels.items() if name not in sent}
        self._reset(fragments.begun(travels, own) if held or own.has(fragments.OWN) else {})
        hub = hub_state.opened(self._hub_state, settings, self._ring)
        method = methods.opened(settings.method, self._model, entries, self._base, own, hub)
        if method.full_gradient:  # as the hub's rules of the job have it
            settings = settings.model_copy(update={"epochs": 1, "local_steps": None})
        private = opened(settings.dp_sgd, self._ring, round_, self._order)
        ctx = replace(self._context(round_, "train", folder, settings, stopped, method, own), private=private)
        ctx.epoch_generator(0)
        import_module("torch._dynamo")  # every optimizer loads it at its first step: seconds that are no training
        started = time.monotonic()
        with task_code("train()"), seeding.algorithms(settings.determinism), closing(ctx):
            result = self._task.train(self._model, data, settings, ctx)
            if not isinstance(result, TrainResult):
                raise TaskInvalidError(
                    f"train() returned a {type(result).__name__}: return TrainResult(samples, metrics)"
                )
            samples, found = metrics.samples(result.samples, "train()"), metrics.checked(result.metrics, "train()")
            steps = metrics.steps(result.steps, "train()")
            method.check(samples, steps)
            if private is not None:
                private.check(samples, steps, self._model, self._entries, self._base)
        training_s = time.monotonic() - started
        agreement.same_result(self._ring, self._ranks, self._model, samples, method.kept())
        agreement.settle(self._ring, self._model)
        if method.full_gradient:
            agreement.unmoved(self._model, entries, self._base)
            steps = 1
        encoded = compression if folder is not None else None
        encoder = self._encoder(encoded, round_, own.residuals) if encoded is not None else None
        writer = Writer(self._model, self._base, self._exchange, self._entries, self._ring)
        file, beside = writer.written(folder, encryption, method.finish(), encoder, sent, protection)
        if encoder is not None:
            own.residuals = {name: left for name, left in own.residuals.items() if name in held} | encoder.left
        values = self._model.state_dict() if held or self._exchange.local else {}
        if self._exchange.local:
            own.keep(LOCAL, {name: values[name] for name in self._exchange.local})
        fragments.keep(held, values, own)
        site_state.stage(self._order, own, file.sha256)
        told = private.charged(file.sha256) if private is not None else None
        return Trained(file, samples, found, training_s, steps, told, beside), ctx

    def _encoder(self, compression: Compression, round_: int, before: Mapping[str, torch.Tensor]) -> Encoder:
        """Of this round's update. What earlier ones have left unsent begins anew where it is lost: that biases nothing."""
        if compression.error_feedback and not before and self._order is not None and self._order.committed:
            log.warning("round %d: nothing is there of what earlier updates left unsent: begins with nothing", round_)
        parameters = frozenset(name for name, _ in self._model.named_parameters(remove_duplicate=False))
        seed = derived(self._spec.seed, "rounding", self._spec.client, round_)
        return Encoder(compression, seed, parameters, before)

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

    def _reset(self, own: Mapping[str, torch.Tensor] = MappingProxyType({})) -> None:
        """`own`: of some tensors, in place of the base's."""
        with task_code("load_state_dict()"):
            self._model.load_state_dict({**self._base, **own})

    def _site(self, round_: int) -> Site:
        spec = self._spec
        return Site(spec.client, spec.data_dir, dict(os.environ), derived(spec.seed, "site", spec.client), round_)

    def _context(
        self,
        round_: int,
        purpose: str,
        folder: Path | None,
        settings: TrainingSettings,
        stopped: Callable[[], bool],
        method: Method,
        own: site_state.SiteState | None = None,
    ) -> Context:
        seed = derived(self._spec.seed, purpose, self._spec.client, round_)
        path = folder / CHECKPOINT_FILE if folder is not None else None
        progress = Checkpoints(path, settings.checkpoint_every_s, self._ring, method, self._exchange.frozen)
        own = self._state.copy() if own is None else own
        return Context(self._site(round_), seed, progress, stopped, self._ring, own, method, self._ranks)
