"""Policy Stratified: places by largest remainders, one for each stratum where there are enough; small strata are not left out."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.selection import stratified
from fedcore.selection.candidates import Candidate
from tests.unit.fedcore.selection.drawing import draw


@pytest.mark.parametrize(
    ("sizes", "count", "places"),
    [
        ({"a": 50, "b": 30, "c": 20}, 10, {"a": 5, "b": 3, "c": 2}),
        ({"a": 53, "b": 24, "c": 23}, 10, {"a": 5, "b": 3, "c": 2}),  # remainders 0.3, 0.4, 0.3
        ({"a": 98, "b": 1, "c": 1}, 3, {"a": 1, "b": 1, "c": 1}),
        ({"a": 98, "b": 1, "c": 1}, 10, {"a": 8, "b": 1, "c": 1}),  # the shares of b and c are 0.1
        ({"a": 2, "b": 2}, 9, {"a": 2, "b": 2}),
        ({"a": 4}, 3, {"a": 3}),
    ],
)
def test_places_by_largest_remainders(sizes, count, places):
    assert stratified.places(sizes, draw(count)) == places


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1),
    st.integers(1, 120),
    st.integers(1, 50),
)
def test_places_are_the_count_and_near_the_share(sizes, count, round_):
    places = stratified.places(sizes, draw(count, round_))
    total = sum(sizes.values())
    count = min(count, total)
    assert sum(places.values()) == count
    assert all(0 <= places[name] <= size for name, size in sizes.items())
    if count >= len(sizes):
        assert min(places.values()) >= 1
    else:
        assert all(abs(places[name] - count * size / total) < 1 for name, size in sizes.items())


def test_with_fewer_places_than_strata_each_is_as_likely_as_its_share():
    sizes, drawn = {"a": 6, "b": 3, "c": 2, "d": 1}, Counter()
    for round_ in range(1, 3001):
        drawn.update(stratified.places(sizes, draw(2, round_)))
    for name, size in sizes.items():
        assert drawn[name] / 3000 == pytest.approx(2 * size / 12, abs=0.04), name


def test_each_stratum_is_drawn_at_random():
    candidates = [Candidate(f"{stratum}{n}", stratum) for stratum in "xy" for n in range(4)]
    seen = Counter(each.name for round_ in range(1, 201) for each in stratified.chosen(candidates, draw(4, round_)))
    assert set(seen) == {each.name for each in candidates}
    one = stratified.chosen(candidates, draw(4))
    assert Counter(each.stratum for each in one) == {"x": 2, "y": 2}
