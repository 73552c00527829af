"""An audit of privacy in one run (Steinke, Nasr and Jagielski 2023, arXiv:2305.08846): how much guesses of canaries give away.

Each canary is in the data, or not, by a coin of its own. Who guesses the coins from what was released is right more often than a
coin only as far as epsilon lets him: too many right guesses, and epsilon is larger, at the stated confidence.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def guessed(scores: Sequence[float], coins: Sequence[bool], share: float) -> tuple[int, int]:
    """How many guesses, and how many right ones: of that share of the canaries, half with the highest scores, half the lowest."""
    order, each = np.argsort(scores), round(len(scores) * share / 2)
    truth = np.asarray(coins)
    return 2 * each, int((~truth[order[:each]]).sum() + truth[order[-each:]].sum())


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses are, at most, where (epsilon, delta) holds: theorem 5.2, as in the paper's appendix D."""
    q = 1 / (1 + math.exp(-epsilon))
    beyond = float(stats.binom.sf(right - 1, guesses, q))
    masses = np.cumsum(stats.binom.pmf(right - np.arange(1, right + 1), guesses, q))
    alpha = float(np.max(masses / np.arange(1, right + 1), initial=0.0))
    return min(1.0, beyond + alpha * delta * 2 * canaries)


def leaked_epsilon(canaries: int, guesses: int, right: int, delta: float, confidence: float = 0.95) -> float:
    """What epsilon is at least, at that confidence."""
    low, high = 0.0, 20.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if p_value(canaries, guesses, right, middle, delta) < 1 - confidence else (low, middle)
        )
    return low
