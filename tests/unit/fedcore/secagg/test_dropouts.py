"""Whoever is lost, and wherever: the sum of those who sent is exact to the bit, or there is none."""

from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest

from fedcore.secagg import hub, masking
from fedcore.secagg.errors import AttemptFailedError
from tests.unit.fedcore.secagg.federation import MASK, NEVER, OPEN, SHARE, Federation, plain_sum, terms

STEPS = range(NEVER + 1)


def _expected(said, lost):
    """Whether enough are left at each step, and whose updates are summed."""
    least = max(said.threshold, said.minimum_cohort)
    left = [[name for name in said.roster if lost[name] > step] for step in STEPS]
    return [name for name in said.roster if lost[name] > MASK] if len(left[OPEN]) >= least else None


# Sites are alike but for their names' order, by which masks have signs: each choice of steps is laid out in one turn of the names.
CHOICES = list(combinations_with_replacement(STEPS, 5))


@pytest.mark.parametrize("threshold", [3, 4])
@pytest.mark.parametrize("first", STEPS)
def test_every_pattern_of_5_sites(threshold, first):
    said = terms(5, threshold, items=40)
    for counts in (each for each in CHOICES if each[0] == first):
        turn = sum(counts) % 5
        _holds(said, dict(zip(said.roster, counts[turn:] + counts[:turn], strict=True)))


def test_every_order_of_who_is_lost_where():
    said = terms(5, 3, items=40)
    for steps in set(permutations((SHARE, MASK, NEVER, NEVER, NEVER))):
        _holds(said, dict(zip(said.roster, steps, strict=True)))


@pytest.mark.parametrize("steps", [(NEVER,) * 5, (NEVER, OPEN, NEVER, MASK, NEVER)])
def test_parties_that_are_killed_before_every_step(steps):
    said = terms(5, 3, items=40)
    federation = Federation.of(said, dict(zip(said.roster, steps, strict=True)))
    federation.durable = True
    stayed = [name for name, step in zip(said.roster, steps, strict=True) if step > MASK]
    assert np.array_equal(federation.run(), plain_sum(stayed, 40))


def _holds(said, lost):
    summed = _expected(said, lost)
    if summed is None:
        with pytest.raises(AttemptFailedError):
            Federation.of(said, lost).run()
    else:
        assert np.array_equal(Federation.of(said, lost).run(), plain_sum(summed, said.items))


@pytest.mark.parametrize("lost", [0, 4, 12])
def test_a_ring_of_40_sites(lost):
    said = terms(40, 36, items=40, colluding=3, minimum_cohort=5)
    gone = dict.fromkeys(list(said.roster)[:lost], MASK)
    _holds(said, {name: gone.get(name, NEVER) for name in said.roster})


def test_a_minimum_cohort_above_the_threshold_is_kept():
    said = terms(5, 3, minimum_cohort=5)
    lost = {"site-002": MASK}
    with pytest.raises(AttemptFailedError, match="4 masked updates are below the 5"):
        Federation.of(said, lost).run()


def test_all_masks_sum_to_zero():
    said = terms(5, 3)
    federation = Federation.of(said)
    federation.open(federation.consent(federation.mask(federation.share(federation.advertise()))))
    masks = sum(federation.sent.values()) - plain_sum(said.roster, said.items)
    assert masks.any()
    masking.apply(masks, hub.masks(federation.hub))
    assert not masks.any()
