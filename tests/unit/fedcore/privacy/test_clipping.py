"""How much of an update counts: exact within the bound, and no site changes the mean by more than its share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedcore.privacy.clipping import factors, squared

LAYERS = (3, 1, 5)
UPDATES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(sum(LAYERS))), elements=st.floats(-1e4, 1e4, width=32)
)
CLIPPINGS = ("Flat", "PerLayer")


def by_layer(update: np.ndarray) -> list[np.ndarray]:
    return np.split(update, np.cumsum(LAYERS)[:-1])


def clipped_sum(updates: np.ndarray, clip_norm: float, clipping) -> np.ndarray:
    """As the fold has it: float32 products, added in float32."""
    squares = np.array([[squared(layer) for layer in by_layer(update)] for update in updates])
    shares = factors(squares, clip_norm, clipping)
    total = np.zeros(sum(LAYERS), np.float32)
    for update, share in zip(updates, shares, strict=True):
        total += np.repeat(share, LAYERS).astype(np.float32) * update
    return total


@pytest.mark.parametrize("clipping", CLIPPINGS)
@given(updates=UPDATES, clip_norm=st.floats(1e-3, 1e3), other=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_site_moves_the_sum_by_its_bound_at_most(clipping, updates, clip_norm, other):
    """Taken out: by C. Replaced by anything: by 2 C. Of the mean by a fixed n: by C / n and 2 C / n."""
    whole = clipped_sum(updates, clip_norm, clipping).astype(np.float64)
    rounding = 1e-6 * clip_norm * len(updates)  # of float32 sums: absolute, not of the products
    without = updates.copy()
    without[0] = 0
    assert np.linalg.norm(whole - clipped_sum(without, clip_norm, clipping)) <= clip_norm + rounding
    replaced = updates.copy()
    replaced[0] = np.random.default_rng(other).normal(0, 1e4, sum(LAYERS)).astype(np.float32)
    assert np.linalg.norm(whole - clipped_sum(replaced, clip_norm, clipping)) <= 2 * clip_norm + rounding


@pytest.mark.parametrize("clipping", CLIPPINGS)
@given(updates=UPDATES.filter(lambda found: len(found) == 1), clip_norm=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_a_clipped_update_is_within_the_bound_itself(clipping, updates, clip_norm):
    assert np.linalg.norm(clipped_sum(updates, clip_norm, clipping).astype(np.float64)) <= clip_norm


def test_short_updates_count_whole():
    assert np.array_equal(factors(np.array([[0.09, 0.16], [0.0, 0.0]]), 1.0, "Flat"), np.ones((2, 2)))
    assert np.array_equal(factors(np.array([[0.4, 0.3]]), 1.0, "PerLayer"), np.ones((1, 2)))


def test_flat_keeps_the_direction_and_layers_have_bounds_of_their_own():
    squares = np.array([[9.0, 16.0]])
    assert factors(squares, 1.0, "Flat")[0] == pytest.approx([0.2, 0.2], rel=1e-5)
    assert factors(squares, 1.0, "PerLayer")[0] == pytest.approx([2**-0.5 / 3, 2**-0.5 / 4], rel=1e-5)


def test_squares_do_not_overflow_where_float32_would():
    assert squared(np.full(3, 1e30, np.float32)) == pytest.approx(3e60, rel=1e-6)


@pytest.mark.parametrize("items", [0, 1, 5, 8192, 8193, 100_000])
def test_squares_are_near_to_exact(items):
    block = np.random.default_rng(items).normal(size=items).astype(np.float32)
    assert squared(block) == pytest.approx(float(np.sum(block.astype(np.longdouble) ** 2)), rel=1e-14)
