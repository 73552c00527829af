"""A small CNN on Fashion-MNIST, and what its site moves over the network: the task of all four topologies.

Nothing here knows which topology it is in. After each evaluation it reports what this process has sent and received since
it began, as the kernel counts it (`hub_bytes`, `ring_bytes`); table.py reads that from the records of the runs.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import nn

from fedtrainer import Context, Data, DataMissingError, EvalResult, Site, Task

_INFO_BYTES, _RECEIVED, _SENT = 208, 128, 200  # tcpi_bytes_received and tcpi_bytes_sent in Linux' struct tcp_info


class Clothing(Task):
    """Ten kinds of clothing; cross entropy and accuracy are the defaults."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def model(self) -> nn.Module:
        """Two convolutions and a linear layer: 5,258 parameters with 8 channels."""
        wide = 2 * self.channels
        return nn.Sequential(
            nn.Conv2d(1, self.channels, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(self.channels, wide, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(wide * 25, 10),
        )  # fmt: skip

    def data(self, site: Site) -> Data:
        """The rows that this site has: its own, or all."""
        folder = site.data_dir / "images"
        return Data(train=images(folder / "train.npz"), test=images(folder / "test.npz"))

    def evaluate(self, model: nn.Module, data: Data, settings: Any, ctx: Context) -> EvalResult:
        """With what was moved so far. Of a ring it is rank 0's: with two ranks it is at one end of everything."""
        found = super().evaluate(model, data, settings, ctx)
        return EvalResult(found.samples, {**found.metrics, **moved(ctx.site.env.get("FEDLOOM_AGGREGATOR_URL", ""))})


def images(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 1, 28, 28) between 0 and 1, and labels (n)."""
    if not path.exists():
        raise DataMissingError(f"no file {path}: run prepare.py, or mount the site's volume `images`")
    with np.load(path, allow_pickle=False) as file:
        pixels, labels = file["images"], file["labels"]
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.from_numpy(labels).long()


def moved(hub: str) -> dict[str, float]:
    """Bytes to and from the hub, and other ranks: TCP payload, TLS and HTTP included. Nothing where there is no Linux."""
    if sys.platform != "linux":
        return {}
    total = {"hub_bytes": 0.0, "ring_bytes": 0.0}
    for port, moved_ in connections():
        total["hub_bytes" if port == urlsplit(hub).port else "ring_bytes"] += moved_
    return total


def connections() -> Iterator[tuple[int, int]]:
    """Port at the other end and bytes both ways, of every TCP connection that this process has open."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as found:
                if found.type == socket.SOCK_STREAM and found.family in {socket.AF_INET, socket.AF_INET6}:
                    port, info = (
                        found.getpeername()[1],
                        found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES),
                    )
                    yield port, sum(struct.unpack_from("Q", info, place)[0] for place in (_SENT, _RECEIVED))
        except OSError:  # a listener, or closed meanwhile
            continue


def task(channels: int = 8) -> Task:
    """Entrypoint: topologies:task."""
    return Clothing(channels)
