"""Logistic regression on the four-hospital heart-disease data: the task that every site runs.

The site's volume `patients` holds train.csv and test.csv (see prepare.py): 13 numbers and the diagnosis a row.
"""

import csv
from pathlib import Path

import torch

from fedtrainer import Data, DataMissingError, Site, Task

# Columns on a clinical scale, with ordinary clinical values: known beforehand, so no site's statistics leave it.
SCALE = {
    "age": (54.0, 9.0),
    "trestbps": (132.0, 18.0),
    "chol": (200.0, 110.0),
    "thalach": (138.0, 26.0),
    "oldpeak": (0.9, 1.1),
}
TARGET = "disease"


class HeartDisease(Task):
    """13 features to two classes; cross entropy and accuracy are the defaults."""

    def model(self) -> torch.nn.Module:
        """Logistic regression: one linear layer under the softmax of the loss."""
        return torch.nn.Linear(13, 2)

    def data(self, site: Site) -> Data:
        """The hospital's own rows."""
        folder = site.data_dir / "patients"
        return Data(train=rows(folder / "train.csv"), test=rows(folder / "test.csv"))


def rows(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardized inputs (n, 13) and targets (n)."""
    if not path.exists():
        raise DataMissingError(f"no file {path}: run prepare.py, or mount the site's volume `patients`")
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    columns = [name for name in table[0] if name != TARGET]
    inputs = [[_scaled(name, float(row[name])) for name in columns] for row in table]
    return torch.tensor(inputs), torch.tensor([int(row[TARGET]) for row in table])


def _scaled(name: str, value: float) -> float:
    middle, spread = SCALE.get(name, (0.0, 1.0))
    return (value - middle) / spread


def task() -> Task:
    """Entrypoint: heart_disease:task."""
    return HeartDisease()
