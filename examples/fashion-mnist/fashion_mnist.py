"""A small CNN on Fashion-MNIST: the task that every site runs.

The site's volume `images` holds train.npz and test.npz (see prepare.py): uint8 images (n, 28, 28) and labels (n).
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedtrainer import Data, DataMissingError, Site, Task

MEAN, SPREAD = 0.286, 0.353  # of the published training set


class FashionMnist(Task):
    """Ten kinds of clothing; cross entropy and accuracy are the defaults."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def model(self) -> nn.Module:
        """Two convolutions and a linear layer: 9,000 parameters with 12 channels."""
        wide = 2 * self.channels
        return nn.Sequential(
            nn.Conv2d(1, self.channels, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(self.channels, wide, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(wide * 25, 10),
        )  # fmt: skip

    def data(self, site: Site) -> Data:
        """The site's own images."""
        folder = site.data_dir / "images"
        return Data(train=images(folder / "train.npz"), test=images(folder / "test.npz"))


def images(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardized images (n, 1, 28, 28) and labels (n)."""
    if not path.exists():
        raise DataMissingError(f"no file {path}: run prepare.py, or mount the site's volume `images`")
    with np.load(path, allow_pickle=False) as file:
        pixels, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    return (pixels.unsqueeze(1).float() / 255 - MEAN) / SPREAD, labels.long()


def task(channels: int = 12) -> Task:
    """Entrypoint: fashion_mnist:task."""
    return FashionMnist(channels)
