"""One block through a strategy: decode, combine, server-optimize, encode, by the rules of the tensor's domain. Pure.

Called by the engine's fold for every block. Domains: floats, which strategies compute with; integers, by a strategy's own
rule, which is exact; BOOL, which keeps the base's value. Sums of masked updates (integers modulo 2^32) will be one more.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedapi.wire.strategy import PreAggregation
from fedcore.strategies.covered import Covered
from fedcore.strategies.preaggregation import Groups
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import FLOATS, Accumulator, Array, Terms, working_type


@dataclass(frozen=True)
class Rules:
    """A strategy, the parameters of the round, and what is done before it."""

    strategy: Strategy
    parameters: Parameters
    pre: PreAggregation | None = None
    groups: Groups = ()  # of the updates of a fold, whose means are combined; none: the updates themselves


def folded(
    rules: Rules,
    dtype: str,
    base: Array,
    terms: Terms,
    accumulator: Accumulator,
    memory: Array | None = None,
    covered: Covered | None = None,
    noise: Array | None = None,
) -> tuple[Array, Array | None]:
    """The new items, stored as the base's are, and the new memory. No memory: a buffer, to which what was combined is added.

    Terms may be left over: a rule need not look at all of them. `covered`: where some terms have 0 because their sites have no
    such items. `noise`: what is added to the sum of parameters, in float64, before it is rounded once.
    """
    if dtype == "BOOL":
        return base, memory
    if dtype not in FLOATS:
        return rules.strategy.integers(base, terms), memory
    room = accumulator.first(base.size)
    decoded = terms if dtype == working_type(dtype) else _decoded(dtype, terms, room.product)
    given = means(decoded, rules.groups, room) if rules.groups else decoded
    combined = rules.strategy.combine(given, room, rules.parameters)
    if noise is not None:
        combined = np.add(combined, noise, out=combined)
    old = arithmetic.decoded(dtype, base, room.product)
    if covered is not None:
        combined = covered.averaged(combined, old)
    if memory is None:
        new, remembered = np.add(old, combined, out=combined), None
    else:
        new, remembered = rules.strategy.optimize(old, combined, memory, rules.parameters)
    if covered is not None:
        new = covered.kept(new, old)
        remembered = None if remembered is None or memory is None else covered.kept(remembered, memory)
    return arithmetic.encoded(dtype, new), remembered


def _decoded(dtype: str, terms: Terms, out: Array) -> Terms:
    return ((weight, arithmetic.decoded(dtype, update, out)) for weight, update in terms)


def means(terms: Terms, groups: Groups, accumulator: Accumulator) -> Terms:
    """The mean of each group's blocks, one after the other; each valid until the next is asked for."""
    blocks = list[Array]()
    for index, (_, block) in enumerate(terms):
        blocks.append(accumulator.row("mixed", index))
        blocks[-1][...] = block
    for group in groups:
        share = Fraction(1, len(group))
        yield (
            Fraction(1, len(groups)),
            arithmetic.weighted_sum(((share, blocks[index]) for index in group), accumulator),
        )
