"""Site and Context: what a task is told about where and for what it runs. Made by session.py. No torch here."""

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fedapi.wire.seeds import derived
from fedtrainer import termination
from fedtrainer.errors import DroppedError, Terminated

if TYPE_CHECKING:
    import torch

    from fedtrainer.ring.gradients import GradientSync
    from fedtrainer.ring.port import Ring
    from fedtrainer.training.dpsgd.private import PrivateTraining
    from fedtrainer.training.methods.method import Method
    from fedtrainer.training.parallel import Parallel
    from fedtrainer.training.site_state import SiteState


@dataclass(frozen=True)
class Site:
    """Where a task runs."""

    name: str  # of the FLClient
    data_dir: Path  # one folder per entry of spec.data.volumes
    env: Mapping[str, str]  # the process's environment, with spec.data.env
    seed: int  # of this site, the same in every round: for a split, for example
    round: int  # round that the data is read for


@dataclass(frozen=True)
class Ranks:
    """The ranks of the site, and which of them this process is."""

    rank: int = 0
    size: int = 1
    workers: tuple[int, ...] = (0,)  # number of the pod that each rank runs in

    def named(self, ranks: Iterable[int]) -> str:
        """As a person reads it: `rank 1 (worker 1), rank 3 (worker 1)`."""
        return ", ".join(f"rank {rank} (worker {self.workers[rank]})" for rank in ranks)


class Position(NamedTuple):
    """How far a training had come: whole epochs, then steps of the next one, and the numbers kept with them."""

    epoch: int = 0
    step: int = 0
    numbers: Mapping[str, float] = {}


class Progress(Protocol):
    """Port: local training state that outlives a killed process. Every rank calls it; rank 0 reads and writes."""

    def load(self, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> Position:
        """Puts the last state into both, at every rank, and returns how far it is; (0, 0) when there is none."""

    def save(
        self, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", epoch: int, step: int = 0, **numbers: float
    ) -> None:
        """Keeps the state after `epoch` epochs and `step` steps, unless the last one is recent."""

    def due(self) -> bool:
        """Whether `save` would keep a state now. Only at rank 0."""

    def write(
        self,
        model: "torch.nn.Module",
        optimizer: "torch.optim.Optimizer",
        position: Position,
        buffers: "torch.Tensor | None",
    ) -> None:
        """Keeps a state now, whenever the last one was, with the buffers of all ranks."""


@dataclass(frozen=True)
class Context:
    """What a training or an evaluation may ask for beyond its arguments."""

    site: Site
    seed: int  # of this site in this round
    progress: Progress
    stopped: Callable[[], bool]
    ring: "Ring"
    state: "SiteState"  # tensors of this site since its last committed update; to be set in a training
    method: "Method"  # what the job's strategy asks of this training
    ranks: Ranks = field(default_factory=Ranks)
    private: "PrivateTraining | None" = None  # with privacy.dpSGD: by what the default training makes its steps
    syncs: "list[GradientSync]" = field(default_factory=list)  # made for this training

    @property
    def device(self) -> str:
        """Where the model is: `cpu`, `cuda:0`, `xla`."""
        return self.ring.device

    def place(self, batch: Any) -> Any:
        """The tensors of a batch (one, or a tuple, list or dict of them) on the device."""
        from fedtrainer.training.batches import moved  # noqa: PLC0415 - torch is loaded late

        return moved(batch, self.ring.place)

    def parallel(self, model: "torch.nn.Module") -> "Parallel":
        """Makes a training loop of your own one of all ranks of the site; with one rank it changes nothing."""
        from fedtrainer.training.parallel import Parallel  # noqa: PLC0415 - torch is loaded late

        return Parallel(self, model)

    def correct(self, optimizer: "torch.optim.Optimizer", samples: int) -> None:
        """What the job's strategy does to the gradients of a step: call it after backward, before optimizer.step().

        `samples`: of the whole batch, all ranks together. It may change gradients, or take them away (FedSGD): the optimizer's
        step then moves nothing. With a strategy that has no part at the site it does nothing.
        """
        self.method.correct(optimizer, samples)

    def sync(self, model: "torch.nn.Module") -> "GradientSync":
        """What averages the gradients of a model, until this training ends."""
        from fedtrainer.ring.gradients import GradientSync  # noqa: PLC0415 - torch is loaded late

        self.syncs.append(GradientSync(self.ring, model))
        return self.syncs[-1]

    def close(self) -> None:
        """The training is over: the model, which lives on, is rid of what was put on it."""
        for sync in self.syncs:
            sync.close()

    def check(self) -> None:
        """Ends a training that the aggregator no longer wants, and one in a pod that is to go. Call it once per step.

        With several ranks it only ends the step: they must stop at the same one, which `parallel` sees to.
        """
        self.ring.flush()
        if self.ranks.size == 1:
            self.end_if_leaving()
            if self.stopped():
                raise DroppedError("the aggregator closed the round")

    def end_if_leaving(self) -> None:
        """Ends this process alone when its pod is to go."""
        if termination.wanted():
            raise Terminated(signal.SIGTERM)

    def epoch_generator(self, epoch: int) -> "torch.Generator":
        """Seeds torch, numpy and random for this epoch, and returns the generator of its batch order.

        Each epoch starts from its own seed, so a resumed training has the same bits as an undisturbed one.
        """
        from fedtrainer.training.seeding import seed_everything  # noqa: PLC0415 - torch is loaded late

        return seed_everything(derived(self.seed, "epoch", epoch))

    def seed_step(self, epoch: int, step: int) -> None:
        """Seeds torch, numpy and random for a step; other ranks than 0 draw other numbers, for other samples."""
        from fedtrainer.training.seeding import seed_step  # noqa: PLC0415 - torch is loaded late

        own = (self.ranks.rank,) if self.ranks.rank else ()
        seed_step(derived(self.seed, "step", epoch, step, *own), self.device)
