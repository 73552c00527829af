"""Secret randomness of DP-SGD, from the system's generator: which records a step has, and the noise. Never from `spec.seed`.

All else that a training draws can be had by whoever knows the job's seed; noise that can be had hides nothing.
"""

import math
import os

import numpy as np
import torch

_WORD = 8  # bytes of a number
_BITS = 53  # of a number between 0 and 1: as many as a float holds


def drawn(count: int, rate: float) -> torch.Tensor:
    """Positions of so many records, each there with that probability, whatever the others are (Poisson sampling). Maybe none."""
    return torch.from_numpy(np.flatnonzero(_uniform(count) < rate))


def normals(shape: torch.Size) -> torch.Tensor:
    """Standard normal numbers, in double precision, by Box and Muller (1958); they end at 8.6 standard deviations."""
    count = math.prod(shape)
    half = -(-count // 2)
    radius = np.sqrt(-2.0 * np.log(_uniform(half)))
    angle = 2.0 * math.pi * _uniform(half)
    pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return torch.from_numpy(pairs[:count]).reshape(shape)


def _uniform(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers over 0 and below 1."""
    words = np.frombuffer(os.urandom(count * _WORD), np.uint64) >> np.uint64(64 - _BITS)
    return np.asarray((words.astype(np.float64) + 0.5) * 2.0**-_BITS)
