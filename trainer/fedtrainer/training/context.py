"""Site and Context: what a task is told about where and for what it runs. Made by session.py. No torch here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedapi.wire.seeds import derived
from fedtrainer.errors import Dropped

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Site:
    """Where a task runs."""

    name: str  # of the FLClient
    data_dir: Path  # one folder per entry of spec.data.volumes
    env: Mapping[str, str]  # the process's environment, with spec.data.env
    seed: int  # of this site, the same in every round: for a split, for example
    round: int  # round that the data is read for


class Progress(Protocol):
    """Port: local training state that outlives a killed process."""

    def load(self, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> int:
        """Puts the last state into both and returns how many epochs it holds; 0 when there is none."""

    def save(self, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", epochs: int) -> None:
        """Keeps the state after `epochs` epochs; may choose not to, when the last one is recent."""


@dataclass(frozen=True)
class Context:
    """What a training or an evaluation may ask for beyond its arguments."""

    site: Site
    device: str  # "cpu" or "cuda": where the model is
    seed: int  # of this site in this round
    progress: Progress
    stopped: Callable[[], bool]

    def check(self) -> None:
        """Ends a training that the aggregator no longer wants. Call it once per step."""
        if self.stopped():
            raise Dropped("the aggregator closed the round")

    def epoch_generator(self, epoch: int) -> "torch.Generator":
        """Seeds torch, numpy and random for this epoch, and returns the generator of its batch order.

        Each epoch starts from its own seed, so a resumed training has the same bits as an undisturbed one.
        """
        from fedtrainer.training.seeding import seed_everything  # noqa: PLC0415 - torch is loaded late

        return seed_everything(derived(self.seed, "epoch", epoch))
