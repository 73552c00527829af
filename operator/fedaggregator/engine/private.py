"""Differential privacy of a fold: how much each update counts, and the noise that is added to their sum. Pure but for the key.

Called by folding.py with the norms that its pass over the updates has found, and by blocks.py for the noise of a span. The mean is a
sum of clipped updates over a number that the plan has fixed, with noise of noise_multiplier x clip_norm over that number
(docs/privacy.md). The noise belongs to what it hides: a fold that is done again has the same, one of other updates has another.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.scoring import Squares
from fedaggregator.engine.spans import Span
from fedaggregator.errors import TooOldError
from fedapi.wire.layout import Layout
from fedapi.wire.message import UPGRADE
from fedapi.wire.privacy import Mechanism
from fedapi.wire.site import UPDATE
from fedcore.privacy import adaptive, clipping, noise
from fedcore.rounds.effects import Fold
from fedcore.strategies.folding import Rules
from fedcore.strategies.weighing import Weight
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, TensorFile


@dataclass(frozen=True)
class Noise:
    """Of one sum."""

    key: bytes = field(repr=False)
    scale: float  # its standard deviation
    numbers: Mapping[str, int]  # of the model's tensors

    def of(self, span: Span) -> Array:
        """What is added to a span, whichever piece of the model that is."""
        item = ITEM_BYTES[span.dtype]
        pieces = [
            noise.normals(self.key, self.numbers[piece.name], piece.start // item, piece.size // item)
            for piece in span.pieces
        ]
        return np.concatenate(pieces) * self.scale


def check(rules: Rules) -> None:
    """TooOldError for a strategy that is more than a sum of updates: a bound of each does not bound what that tells."""
    strategy = rules.strategy
    if not strategy.sums or strategy.gram or strategy.absorb or strategy.rooted or rules.pre:
        raise TooOldError(f"strategy {strategy.name} has no differential privacy in this version: {UPGRADE}")


def weights(done: Mechanism, squares: Squares, updates: int) -> Sequence[Weight]:
    """How much of each update counts, in the order of their squares. What is no parameter counts nothing."""
    if not updates:
        return ()
    shares = clipping.factors(squares.values, done.clip_norm, done.clipping)
    none, parts = Fraction(0), [[Fraction(share) / done.denominator for share in row] for row in shares.tolist()]
    if done.clipping == "PerLayer":
        return [Weight(none, none, dict(zip(squares.names, row, strict=True))) for row in parts]
    return [Weight(row[0] if row else none, none) for row in parts]


def within(done: Mechanism, squares: Squares, of: Noise) -> float | None:
    """Share of the sites whose updates are within the clip norm, with noise of its own; None: it is not asked for."""
    if done.count_noise is None:
        return None
    drawn = float(noise.normals(of.key, len(of.numbers), 0, 1)[0]) * done.count_noise
    norms = clipping.norms(squares.values).tolist()
    return adaptive.share_within(norms, done.clip_norm, drawn, done.denominator)


def drawn(payloads: Payloads, layout: Layout, order: Fold, done: Mechanism, model: TensorFile) -> Noise:
    """The noise of a fold: its key is bound to all that decides the sum, so that no two sums are hidden by the same."""
    said = json.dumps(
        {
            "job": layout.uid,
            "round": order.round,
            "attempt": order.attempt,
            "base": order.base.sha256,
            "mechanism": done.model_dump(mode="json"),
            "updates": [[term.client, term.payloads[UPDATE].object.sha256, term.samples > 0] for term in order.terms],
        },
        sort_keys=True,
    )
    key = payloads.noise_key(hashlib.sha256(said.encode()).digest())
    scale = adaptive.sum_noise(done.noise_multiplier, done.count_noise) * done.clip_norm / done.denominator
    return Noise(key, scale, {tensor.name: number for number, tensor in enumerate(model.tensors)})
