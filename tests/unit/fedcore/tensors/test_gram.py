"""Inner products by blocks: near to exact arithmetic, and the same bits whatever the machine sums in which order."""

from fractions import Fraction

import numpy as np
import pytest

from fedcore.tensors import gram


def products(rows) -> np.ndarray:
    found = np.zeros((len(rows), len(rows)))
    gram.added(found, np.asarray(rows))
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("items", [1, 5, 8192, 8193, 30_000])
def test_they_are_near_to_exact(dtype, items):
    rows = np.random.default_rng(items).normal(size=(5, items)).astype(dtype)
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    assert np.allclose(products(rows), exact, rtol=0, atol=4e-6 * np.diag(exact).max())


def test_distances_of_updates_that_are_nearly_equal():
    rng = np.random.default_rng(2)
    one = rng.normal(size=50_000).astype(np.float32)
    other = one + np.float32(1e-3) * rng.normal(size=one.size).astype(np.float32)
    found = products(np.stack([one, other]))
    distance = np.sqrt(found[0, 0] + found[1, 1] - 2 * found[0, 1])
    assert abs(distance - np.linalg.norm(one - other)) < 1e-5 * np.linalg.norm(one)


def test_rounded_values_are_multiplied_and_added_without_any_error():
    """So no order of summation, and no fused operation, gives other bits."""
    rows = np.random.default_rng(3).normal(size=(3, 8192)).astype(np.float32)
    found = products(rows)
    for i in range(3):
        for j in range(3):
            (a, p), (b, q) = (rounded(rows[k]) for k in (i, j))
            exact = sum(int(x) * int(y) for x, y in zip(a, b, strict=True)) * Fraction(2) ** (p + q)
            assert Fraction(float(found[i, j])) == exact


def rounded(row):
    exponent = int(np.frexp(np.abs(row).max())[1]) - 19
    return np.rint(row.astype(np.float64) * 2.0**-exponent), exponent


def test_the_order_of_columns_within_a_block_changes_no_bit():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(7, 8192)).astype(np.float32)
    assert products(rows).tobytes() == products(rows[:, rng.permutation(8192)]).tobytes()


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 3e38), (np.float32, 1e-45), (np.float64, 1e300), (np.float64, 5e-324), (np.float64, 0)],
)
def test_the_ends_of_a_type_give_finite_numbers(dtype, size):
    rows = np.array([[size, 0, size], [1, 2, 3], [0, 0, 0]], dtype)
    found = products(rows)
    assert np.isfinite(found).all()
    assert found[1, 1] == 14
    assert (found[2] == 0).all()
    assert found[0, 0] >= 0
