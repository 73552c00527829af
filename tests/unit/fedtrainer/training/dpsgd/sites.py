"""A training by DP-SGD without a Session: a model, its records, and the steps that the default training makes."""

from pathlib import Path

import numpy as np
import torch

from fedapi.wire.privacy import DPSGD
from fedapi.wire.training import TrainingSettings
from fedtrainer import Context, Data, Site, Task
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.dpsgd.private import PrivateTraining
from fedtrainer.training.methods.method import NOTHING
from fedtrainer.training.progress import Checkpoints
from fedtrainer.training.site_state import SiteState


def asked(**changes) -> DPSGD:
    return DPSGD(**{"max_grad_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3, "rounds": 1} | changes)


def context(path: Path | None, dpsgd: DPSGD, seed: int = 5, stopped=lambda: False, order=None) -> Context:
    ring = SingleRing("cpu")
    progress = Checkpoints(None if path is None else path / "checkpoint.safetensors", 0.0, ring)
    site = Site("a", path or Path(), {}, 1, 1)
    return Context(
        site, seed, progress, stopped, ring, SiteState({}), NOTHING, private=PrivateTraining(dpsgd, ring, 1, order)
    )


def trained(task: Task, model, records, dpsgd: DPSGD, *, rate=1.0, seed=5, **settings):
    """The model after one training of plain steps, and what the training returned."""
    told = TrainingSettings(**{"batch_size": 8, "optimizer": {"learning_rate": rate}} | settings)
    return task.train(model, Data(records), told, context(None, dpsgd, seed))


class Seeded:
    """In the place of the system's generator, so that a statistical test says the same each time."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def urandom(self, count: int) -> bytes:
        return self._generator.bytes(count)


def flat(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
