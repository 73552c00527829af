"""Differential privacy of a fold: how much each update counts, and the noise that is added to their sum. Pure but for the key.

Called by folding.py with the norms that its pass over the updates has found, and by blocks.py for the noise of a span. The mean is a
sum of clipped updates over a number that the plan has fixed, with noise of noise_multiplier x clip_norm over that number
(docs/privacy.md). The noise belongs to what it hides: a fold that is done again has the same, one of other updates has another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.scoring import Squares
from fedaggregator.engine.spans import Span
from fedaggregator.errors import TooOldError
from fedapi.wire.layout import Layout
from fedapi.wire.message import UPGRADE
from fedapi.wire.privacy import Mechanism, Row
from fedapi.wire.update import UPDATE
from fedcore.privacy import adaptive, clipping, factorization, noise
from fedcore.rounds import noisekeys
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
    earlier: tuple[tuple[float, bytes], ...] = field(
        default=(), repr=False
    )  # shares of the noise of earlier rounds' keys

    def of(self, span: Span) -> Array:
        """What is added to a span, whichever piece of the model that is."""
        item = ITEM_BYTES[span.dtype]
        pieces = [self._piece(piece.name, piece.start // item, piece.size // item) for piece in span.pieces]
        return np.concatenate(pieces) * self.scale

    def _piece(self, name: str, start: int, count: int) -> Array:
        total = noise.normals(self.key, self.numbers[name], start, count)
        for share, key in self.earlier:
            total += share * noise.normals(key, self.numbers[name], start, count)
        return total


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


def as_summed(order: Fold, job_uid: str) -> list[tuple[Weight, Sent]]:
    """What sites clipped, and hid by noise of their own, before it was summed and divided: it counts as it is."""
    whole, none = Fraction(1), Fraction(0)
    return [
        (Weight(whole, none), Sent(term.payloads[UPDATE], order.place(job_uid, term, UPDATE))) for term in order.terms
    ]


def drawn(payloads: Payloads, layout: Layout, order: Fold, done: Mechanism, model: TensorFile) -> Noise:
    """The noise of a fold: of a key that is bound to all that decides the sum, and parts of the noise of rounds before it."""
    key = payloads.noise_key(noisekeys.drawn_for(layout.uid, order, done))
    scale = adaptive.sum_noise(done.noise_multiplier, done.count_noise) * done.clip_norm / done.denominator
    numbers = {tensor.name: number for number, tensor in enumerate(model.tensors)}
    return Noise(key, scale, numbers, tuple(_earlier(payloads, order.round, done.row) if done.row else ()))


def _earlier(payloads: Payloads, round_: int, row: Row) -> Iterator[tuple[float, bytes]]:
    """What a round takes back of the noise of those before it, which their keys make again: a column of C^-1."""
    shares = factorization.noising(row.bands)
    for each in row.earlier:
        yield shares[round_ - each.round], payloads.noise_key(bytes.fromhex(each.drawn_for))
