"""Comparisons of a random number of infinitely many bits with logarithms and exponentials, decided without error. Pure.

As many bits are read, and as many decimals computed, as it takes until the answer is the same at both ends of what is known. The
decimal module rounds ln and exp correctly (its specification), so the ends are ends. Called by discrete.py where floats do not
suffice: some dozens of times in a million.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from math import floor

_GUARD = 15  # decimals that an error bound has beyond the bits
_LOST = 25  # and those beyond it, for what a few operations, and an exponent below 10^10, may cost


@dataclass(frozen=True)
class Uniform:
    """A number between bits / 2^count and (bits + 1) / 2^count; `more`: its next 128 bits, by the number of such blocks before."""

    bits: int
    count: int
    more: Callable[[int], bytes] = field(repr=False, compare=False)
    blocks: int = 0

    def longer(self) -> "Uniform":
        """With 128 bits more."""
        bits = (self.bits << 128) | int.from_bytes(self.more(self.blocks), "little")
        return Uniform(bits, self.count + 128, self.more, self.blocks + 1)


def exponential_floor(drawn: Uniform, t: int) -> int:
    """floor(-t ln u)."""
    while True:
        found = _floor_if_known(drawn, t)
        if found is not None:
            return found
        drawn = drawn.longer()


def _floor_if_known(drawn: Uniform, t: int) -> int | None:
    if drawn.bits == 0:
        return None
    context, less, more = _context(drawn.count)
    whole, factor = Decimal(1 << drawn.count), Decimal(-t)
    logarithms = (context.ln(context.divide(Decimal(bits), whole)) for bits in (drawn.bits + 1, drawn.bits))
    low, high = (context.multiply(factor, logarithm) for logarithm in logarithms)
    first, last = floor(context.multiply(low, less)), floor(context.multiply(high, more))
    return first if first == last else None


def below_exp(drawn: Uniform, numerator: int, denominator: int) -> bool:
    """Whether u < exp(-numerator / denominator)."""
    while True:
        context, less, more = _context(drawn.count)
        bound = context.exp(context.divide(Decimal(-numerator), Decimal(denominator)))
        whole = Decimal(1 << drawn.count)
        if context.divide(Decimal(drawn.bits + 1), whole) <= context.multiply(bound, less):
            return True
        if context.divide(Decimal(drawn.bits), whole) >= context.multiply(bound, more):
            return False
        drawn = drawn.longer()


def _context(bits: int) -> tuple[Context, Decimal, Decimal]:
    """And one, less and more what an error may be. It is relative, and ln of 1 - 2^-bits loses as many decimals as bits have."""
    digits = bits * 302 // 1000 + _GUARD
    context = Context(prec=2 * digits + _LOST, Emax=MAX_EMAX, Emin=MIN_EMIN)
    error = context.power(10, -digits)
    return context, context.subtract(1, error), context.add(1, error)
