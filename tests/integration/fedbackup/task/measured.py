"""A task for the model of the scripted sites. What it measures is an argument: a verification is right or wrong at will."""

from pathlib import Path

import torch

from fedtrainer import Data, DataMissingError, EvalResult, Site, Task


class Model(torch.nn.Module):
    """The harness's small model."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)


class Measured(Task):
    def __init__(self, accuracy: float) -> None:
        self.accuracy = accuracy

    def model(self):
        return Model()

    def data(self, site: Site) -> Data:
        path = Path(site.data_dir) / "sandbox" / "test.csv"
        if not path.exists():
            raise DataMissingError(f"no file {path}")
        return Data(train=None, test=(torch.zeros(5, 4), torch.zeros(5, dtype=torch.long)))

    def evaluate(self, model, data, settings, ctx):
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
        return EvalResult(5, {"accuracy": self.accuracy})


def task(accuracy: float) -> Task:
    return Measured(accuracy)
