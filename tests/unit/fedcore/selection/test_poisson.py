"""Policy Poisson: independent draws with one probability, whatever the number of candidates."""

import math
from collections import Counter

import pytest

from fedcore.selection import poisson
from tests.unit.fedcore.selection.drawing import draw, names, sites

ROUNDS = 4000


def drawn(count: int, q: float) -> list[list[str]]:
    return [names(poisson.chosen(sites(count), draw(round_=r, fraction=q))) for r in range(1, ROUNDS + 1)]


@pytest.mark.parametrize("q", [0.05, 0.3, 0.9])
def test_each_site_takes_part_with_the_probability(q):
    seen = Counter(name for chosen in drawn(12, q) for name in chosen)
    bound = 4 * math.sqrt(q * (1 - q) / ROUNDS)
    for each in sites(12):
        assert abs(seen[each.name] / ROUNDS - q) < bound, each.name


def test_how_many_take_part_is_binomial_and_may_be_none():
    """A draw of a fixed size, and one that is filled up, would fail this."""
    count, q = 8, 0.25
    sizes = Counter(len(chosen) for chosen in drawn(count, q))
    chi_square = 0.0
    for size in range(count + 1):
        expected = ROUNDS * math.comb(count, size) * q**size * (1 - q) ** (count - size)
        if expected >= 5:
            chi_square += (sizes[size] - expected) ** 2 / expected
    assert chi_square < 20.5  # the 0.999 quantile with 6 degrees of freedom is 22.5
    assert sizes[0] > 0


def test_two_sites_are_drawn_independently():
    q, both = 0.3, 0
    for chosen in drawn(6, q):
        both += "s00" in chosen and "s01" in chosen
    assert abs(both / ROUNDS - q * q) < 4 * math.sqrt(q * q * (1 - q * q) / ROUNDS)


def test_a_site_s_lot_does_not_depend_on_the_others():
    few, many = sites(3), sites(30)
    for round_ in range(1, 200):
        one = names(poisson.chosen(few, draw(round_=round_, fraction=0.5)))
        other = names(poisson.chosen(many, draw(round_=round_, fraction=0.5)))
        assert one == [name for name in other if name in names(few)]


def test_probability_one_takes_all():
    assert names(poisson.chosen(sites(50), draw(fraction=1.0))) == names(sites(50))
