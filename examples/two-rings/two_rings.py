"""A CNN on Fashion-MNIST that is trained by rings of unlike machines: the task that every rank of every site runs.

Nothing here speaks of rings: Fedloom shares each batch among a site's ranks and averages their gradients, so that the
model is the one that a single process would have trained.
The site's volume `images` holds train.npz and test.npz (see prepare.py): uint8 images (n, 28, 28) and labels (n).
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedtrainer import Data, DataMissingError, Site, Task


class Clothing(Task):
    """Ten kinds of clothing; cross entropy and accuracy are the defaults."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def model(self) -> nn.Module:
        """Two convolutions and a linear layer: 5,000 parameters with 8 channels."""
        wide = 2 * self.channels
        return nn.Sequential(
            nn.Conv2d(1, self.channels, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(self.channels, wide, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(wide * 25, 10),
        )  # fmt: skip

    def data(self, site: Site) -> Data:
        """The site's own images; every rank of the site reads them all and trains on its share."""
        folder = site.data_dir / "images"
        return Data(train=images(folder / "train.npz"), test=images(folder / "test.npz"))


def images(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 1, 28, 28) between 0 and 1, and labels (n)."""
    if not path.exists():
        raise DataMissingError(f"no file {path}: run prepare.py, or mount the site's volume `images`")
    with np.load(path, allow_pickle=False) as file:
        pixels, labels = file["images"], file["labels"]
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.from_numpy(labels).long()


def task(channels: int = 8) -> Task:
    """Entrypoint: two_rings:task."""
    return Clothing(channels)
