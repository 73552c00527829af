"""The matrix by which the noise of rounds is correlated: a banded inverse square root. Pure; called by account.py and correlated.py.

Of rounds with sums x_1 … x_n, the rows of x, what is released is x + C^-1 Z = C^-1 (C x + Z), with Z independent Gaussian noise:
a part of each round's noise is taken back in the rounds after it, so that models, which are sums of rounds, have less of it (DP-FTRL,
Kairouz et al. 2021; matrix mechanisms, Denisov et al. 2022, whose theorem 2.1 lets each x depend on what was released before).

C is lower-triangular and Toeplitz. C^-1 has the first `bands` coefficients of (1 - x)^(1/2), so a round needs the noise of the
bands - 1 rounds before it alone (BISR: Kalinin, McKenna, Upadhyay and Lampert 2025). C's own coefficients are positive and do not
rise, so what a site that takes part at most every `min_separation`-th round changes C x by is greatest where it takes part in the
rounds 1, 1 + min_separation, … (Kalinin and Lampert 2024, theorem 2).
"""

from functools import lru_cache
from itertools import accumulate
from operator import mul

_LEAST_ROWS = 64  # of a table, which grows by doubling: its first rows are the same, however long it is


@lru_cache(maxsize=16)
def noising(bands: int) -> tuple[float, ...]:
    """The first column of C^-1, as far as it is not 0: how much of its own noise and of that of earlier rounds a round has."""
    return tuple(accumulate(range(1, bands), lambda last, k: last * (k - 1.5) / k, initial=1.0))


def sensitivity_squared(bands: int, min_separation: int, rows: int) -> float:
    """The most that one site changes the first rows of C x by, squared, where each of its updates has at most the norm 1."""
    return _sensitivities(bands, min_separation, 1 << max(rows, _LEAST_ROWS).bit_length())[rows - 1]


@lru_cache(maxsize=8)
def _sensitivities(bands: int, min_separation: int, rows: int) -> tuple[float, ...]:
    """Of 1, 2, … rows: of the sum of the columns 1, 1 + min_separation, … each row's square is added."""
    sums = list[float]()
    for row, coefficient in enumerate(_strategy(bands, rows)):
        sums.append(coefficient + (sums[row - min_separation] if row >= min_separation else 0.0))
    return tuple(accumulate(each * each for each in sums))


def _strategy(bands: int, rows: int) -> list[float]:
    """The first column of C."""
    taken_back = [-each for each in noising(bands)[1:]]
    found = [1.0]
    while len(found) < rows:
        found.append(sum(map(mul, taken_back, reversed(found[-len(taken_back) :]))))
    return found
