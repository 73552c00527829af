"""The matrix of correlated noise: against jax-privacy, against all patterns of participation, and what it gains."""

import math
from itertools import pairwise, product

import numpy as np
import pytest

from fedcore.privacy.factorization import noising, sensitivity_squared

# jax-privacy 2.0.0, matrix_factorization.toeplitz in float64: minsep_sensitivity_squared of inverse_coef of
# optimal_max_error_noising_coefs(bands), and the mean of per_query_error, for (bands, min_sep, n).
ORACLE = [
    ((2, 2, 20), 20.888890302, 3.375),
    ((4, 4, 20), 12.665802475, 2.111132813),
    ((4, 5, 40), 19.186093015, 3.093652344),
    ((3, 2, 7), 9.494937897, 1.515625),
    ((8, 10, 100), 28.476337057, 3.575128181),
    ((16, 16, 200), 46.761440682, 3.697273659),
    ((20, 10, 100), 52.272639775, 2.493765899),
    ((2, 7, 3), 1.3125, 1.25),
]
# The same library's optimize_banded_toeplitz(n, bands): root of sensitivity^2 x mean error, the best that bands can do whose sites
# are away for as many rounds.
OPTIMUM = [((2, 2, 20), 7.917849), ((4, 4, 20), 4.663060), ((4, 5, 40), 7.590925), ((8, 10, 100), 9.883149)]


def inverse(bands: int, rows: int) -> np.ndarray:
    column = np.zeros(rows)
    column[:bands] = noising(bands)[:rows]
    return np.array([[column[i - j] if i >= j else 0.0 for j in range(rows)] for i in range(rows)])


def error(bands: int, rows: int) -> float:
    """The mean variance of a coordinate of the models, in noise of 1."""
    return float((np.tril(np.ones((rows, rows))) @ inverse(bands, rows)).__pow__(2).sum() / rows)


def patterns(rounds: list[int], apart: int):
    """All ways in which a site can take part in some rounds, so many apart."""
    for chosen in product((0, 1), repeat=len(rounds)):
        taken = [each for each, one in zip(rounds, chosen, strict=True) if one]
        if all(b - a >= apart for a, b in pairwise(taken)):
            yield np.array(chosen)


@pytest.mark.parametrize(("numbers", "squared", "mean"), ORACLE)
def test_it_is_jax_privacy_s(numbers, squared, mean):
    assert sensitivity_squared(*numbers) == pytest.approx(squared, rel=1e-9)
    assert error(numbers[0], numbers[2]) == pytest.approx(mean, rel=1e-9)


def test_a_round_has_the_coefficients_of_a_square_root():
    assert noising(6) == (1.0, -0.5, -0.125, -0.0625, -0.0390625, -0.02734375)
    twice = np.convolve(noising(60), noising(60))[:60]
    assert twice == pytest.approx([1.0, -1.0, *[0.0] * 58], abs=1e-12), (
        "whose square takes each round's noise back in the next"
    )


@pytest.mark.parametrize("bands", [2, 3, 5, 9])
@pytest.mark.parametrize("apart", [1, 2, 3, 4])
def test_no_pattern_of_participation_changes_more_and_one_as_much(bands, apart):
    rows = 9
    strategy = np.linalg.inv(inverse(bands, rows))
    most = max(np.sum((strategy @ pattern) ** 2) for pattern in patterns(list(range(rows)), apart))
    assert sensitivity_squared(bands, apart, rows) == pytest.approx(most, rel=1e-12)


@pytest.mark.parametrize("bands", [2, 3, 6])
@pytest.mark.parametrize("apart", [2, 3])
@pytest.mark.parametrize("missing", [{1}, {0, 3}, {1, 2, 5}, {2, 4, 6}])
def test_rounds_that_release_nothing_cost_no_more(bands, apart, missing):
    """Their rows are not seen, and their noise is in no other row."""
    released = [row for row in range(8) if row not in missing]
    seen = np.linalg.inv(inverse(bands, 8)[np.ix_(released, released)])
    most = max(np.sum((seen @ pattern) ** 2) for pattern in patterns(released, apart))
    assert most <= sensitivity_squared(bands, apart, released[-1] + 1) * (1 + 1e-12)


@pytest.mark.parametrize("bands", [2, 3, 8, 33, 64])
def test_the_strategy_never_rises_and_is_positive(bands):
    """As the formula of its sensitivity needs it."""
    column = [1.0]
    for row in range(1, 900):
        taken = min(row, bands - 1)
        column.append(-sum(noising(bands)[k] * column[row - k] for k in range(1, taken + 1)))
    assert min(column) > 0
    assert all(a >= b for a, b in pairwise(column))


def test_more_rows_cost_more_and_the_first_rows_stay_the_same():
    long = [sensitivity_squared(4, 4, rows) for rows in (1000, 100, 10, 1)]
    assert long == sorted(long, reverse=True)
    assert sensitivity_squared(4, 4, 10) == long[2]
    assert long[3] == 1.0


@pytest.mark.parametrize(("numbers", "optimum"), OPTIMUM)
def test_at_the_same_epsilon_models_have_less_noise_and_nearly_as_little_as_any_bands_allow(numbers, optimum):
    bands, apart, rows = numbers
    correlated = math.sqrt(sensitivity_squared(*numbers) * error(bands, rows))
    independent = math.sqrt(math.ceil(rows / apart) * (rows + 1) / 2)
    assert correlated < 0.83 * independent
    assert optimum <= correlated < 1.12 * optimum


def test_with_every_site_in_every_round_nothing_is_gained():
    """Why min_separation is 2 at least: no matrix can gain more than 1 - sqrt(2/3) there, and this one loses."""
    rows = 20
    independent = math.sqrt(rows * (rows + 1) / 2)
    assert all(
        math.sqrt(sensitivity_squared(bands, 1, rows) * error(bands, rows)) > independent for bands in range(2, 20)
    )
