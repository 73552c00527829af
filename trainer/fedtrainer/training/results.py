"""The values of the Task API: a site's data, and what training and evaluation did with it. No torch at import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Data:
    """Local data: each part a torch Dataset, or a pair of tensors (inputs, targets) of equal length."""

    train: Any
    test: Any = None  # None: this site does not evaluate


@dataclass(frozen=True)
class TrainResult:
    """What training did. `samples` is the weight of the update; `steps` the optimizer steps, where a task counts them."""

    samples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: int | None = None


@dataclass(frozen=True)
class EvalResult:
    """Metrics of a model on test data. `samples` is their weight in the mean over sites."""

    samples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
