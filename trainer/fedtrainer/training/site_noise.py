"""An update that is clipped and hidden by the site's own noise, before it is encoded, encrypted or written (mode Local).

Only parameters are sent: of all else, buffers and integers, the change is sent as none, since noise would break it. The update is
read twice, once for its length and digest, and once as it is sent; arithmetic is float64, rounded once to the model's type. Used by
tensors.py with what releases.py has drawn. The aggregator's noise (mode Central) is made by the same numbers, fedcore.privacy.noise.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from fedcore.privacy import clipping, noise
from fedtrainer.errors import DivergedError
from fedtrainer.training.releases import Protection
from fedtrainer.training.tensors import Blocks, Protect


@dataclass(frozen=True)
class Noised:
    """An update as it is sent."""

    delta: Blocks
    shares: Mapping[str, float]  # how much of each parameter counts
    numbers: Mapping[str, int]
    scale: float  # standard deviation of the noise
    key: bytes = field(repr=False)

    def blocks(self, name: str, items: int = 0) -> Iterator[torch.Tensor]:
        """The same however often it is asked for, in whichever blocks."""
        share, at = self.shares.get(name), 0
        for block in self.delta(name, items):
            if share is None:
                yield torch.zeros_like(block)
                continue
            drawn = noise.normals(self.key, self.numbers[name], at, block.numel())
            values = block.to(torch.float64).numpy() * share + drawn * self.scale
            sent = torch.from_numpy(values).to(block.dtype)
            if not torch.isfinite(sent).all():
                raise DivergedError(
                    f"tensor {name!r} with its noise is over what {block.dtype} holds: lower privacy.differentialPrivacy.clipNorm"
                )
            yield sent
            at += block.numel()


def protect(protection: Protection, parameters: frozenset[str]) -> Protect:
    """Makes of an update of some tensors what the site may tell."""
    return lambda delta, names: noised(protection, delta, names, parameters).blocks


def noised(protection: Protection, delta: Blocks, names: Sequence[str], parameters: frozenset[str]) -> Noised:
    """The update of these tensors, of which some are parameters. DivergedError where it has no length."""
    asked, counted = protection.noise, [name for name in names if name in parameters]
    digest, squares = hashlib.sha256(), np.zeros((1, len(counted)))
    for number, name in enumerate(counted):
        digest.update(f"{name}\0".encode())
        for block in delta(name, 0):
            digest.update(block.view(torch.uint8).numpy().data)
            squares[0, number] += clipping.squared(_wide(block))
    shares = clipping.factors(squares, asked.clip_norm, asked.clipping)[0]
    return Noised(
        delta,
        dict(zip(counted, shares.tolist(), strict=True)),
        {name: number for number, name in enumerate(counted)},
        asked.noise_multiplier * asked.clip_norm,
        protection.key(digest.digest()),
    )


def _wide(block: torch.Tensor) -> clipping.Floats:
    values: clipping.Floats = block.to(torch.float64).numpy()
    return values
