"""Makes torch repeatable: threads, deterministic algorithms, seeds. Called by session.py and context.py.

Outside of training and evaluation, an operation without a deterministic algorithm only warns: no setting is known yet.
"""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch


def make_repeatable(threads: int) -> None:
    """Once per process, before the first operation: the same program and seed give the same bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is repeatable only with a fixed workspace
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


@contextmanager
def algorithms(determinism: str) -> Iterator[None]:
    """`training.determinism` for a training or an evaluation: with Strict an operation that is not repeatable fails."""
    torch.use_deterministic_algorithms(True, warn_only=determinism == "Warn")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


@cache
def _accelerated() -> bool:
    """Whether there is a device to seed; without one torch.manual_seed only takes a stack trace for the time when there is."""
    return bool(torch.accelerator.is_available()) or "torch_xla" in sys.modules


def seed_everything(seed: int) -> torch.Generator:
    """Seeds torch (all devices), numpy's and Python's global generators; returns a torch generator of its own."""
    torch.manual_seed(seed) if _accelerated() else torch.default_generator.manual_seed(seed)
    np.random.seed(seed & 0xFFFF_FFFF)  # noqa: NPY002 - tasks use the global generator
    random.seed(seed)
    return torch.Generator().manual_seed(seed)


def seed_step(seed: int, device: str) -> None:
    """The same for one step on `device`, without what makes torch.manual_seed slow: a stack trace for CUDA.

    XLA's generator is not seeded: it goes on from step to step.
    """
    torch.default_generator.manual_seed(seed)
    if (kind := torch.device(device).type) not in ("cpu", "xla"):
        torch.get_device_module(kind).manual_seed(seed)
    np.random.seed(seed & 0xFFFF_FFFF)  # noqa: NPY002 - tasks use the global generator
    random.seed(seed)
