"""Sites whose loss is a quadratic, unlike at each: least squares in float64, so that closed forms hold to many digits."""

import numpy as np
import torch

from fedtrainer import Data, Task

WIDTH = 3


class Squares(Task):
    """Half the mean square of inputs @ w - targets; all of its samples in one batch unless the job says otherwise."""

    def __init__(self, seed: int, samples: int = 6) -> None:
        rng = np.random.default_rng(seed)
        self.inputs = rng.normal(size=(samples, WIDTH))
        self.targets = self.inputs @ (3 * rng.normal(size=WIDTH)) + 1

    def model(self) -> torch.nn.Module:
        linear = torch.nn.Linear(WIDTH, 1, bias=False, dtype=torch.float64)
        torch.nn.init.ones_(linear.weight)
        return linear

    def data(self, site) -> Data:
        return Data((torch.from_numpy(self.inputs), torch.from_numpy(self.targets)[:, None]))

    def loss(self, outputs, targets):
        return 0.5 * (outputs - targets).square().mean()

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Of the whole loss."""
        return self.inputs.T @ (self.inputs @ w - self.targets) / len(self.targets)


class Layers(torch.nn.Module):
    """A linear function, each of whose weights is a layer."""

    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList(torch.nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(WIDTH))
        for part in self.parts:
            torch.nn.init.ones_(part.weight)

    def forward(self, inputs):
        return sum(part(inputs[:, [index]]) for index, part in enumerate(self.parts))


class Layered(Squares):
    """The same, as a model of layers."""

    def model(self):
        return Layers()


def best(tasks: list[Squares]) -> np.ndarray:
    """Where the mean of their losses is least."""
    hessians = [task.inputs.T @ task.inputs / len(task.targets) for task in tasks]
    sides = [task.inputs.T @ task.targets / len(task.targets) for task in tasks]
    return np.linalg.solve(sum(hessians), sum(sides))
