"""One block through a strategy: decode, combine, server-optimize, encode, by the rules of the tensor's domain. Pure.

Called by the engine's fold for every block. Domains: floats, which strategies compute with; integers, averaged exactly;
BOOL, which keeps the base's value. Sums of masked updates (integers modulo 2^32) will be one more.
"""

from dataclasses import dataclass

import numpy as np

from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors import arithmetic, integers
from fedcore.tensors.arithmetic import FLOATS, Accumulator, Array, Terms


@dataclass(frozen=True)
class Rules:
    """A strategy and the parameters of the round."""

    strategy: Strategy
    parameters: Parameters


def folded(
    rules: Rules, dtype: str, base: Array, terms: Terms, accumulator: Accumulator, memory: Array | None = None
) -> tuple[Array, Array | None]:
    """The new items, stored as the base's are, and the new memory. No memory: a buffer, to which what was combined is added.

    Terms may be left over: a rule need not look at all of them.
    """
    if dtype == "BOOL":
        return base, memory
    if dtype not in FLOATS:
        return integers.averaged(base, terms), memory
    room = accumulator.first(base.size)
    decoded = ((weight, arithmetic.decoded(dtype, update, room.product)) for weight, update in terms)
    combined = rules.strategy.combine(decoded, room)
    old = arithmetic.decoded(dtype, base, room.product)
    if memory is None:
        return arithmetic.encoded(dtype, np.add(old, combined, out=combined)), None
    new, memory = rules.strategy.optimize(old, combined, memory, rules.parameters)
    return arithmetic.encoded(dtype, new), memory
