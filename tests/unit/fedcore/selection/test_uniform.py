"""Policy Random: a set of the size that was asked for, each site as likely as any other."""

from collections import Counter

from fedcore.selection import uniform
from tests.unit.fedcore.selection.drawing import draw, names, sites


def test_every_site_is_as_likely():
    seen = Counter(name for round_ in range(1, 1001) for name in names(uniform.chosen(sites(10), draw(3, round_))))
    assert set(seen) == set(names(sites(10)))
    assert min(seen.values()) > 240
    assert max(seen.values()) < 360


def test_the_order_of_candidates_does_not_matter():
    assert names(uniform.chosen(sites(9), draw(4))) == names(uniform.chosen(sites(9)[::-1], draw(4)))
