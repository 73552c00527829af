"""How often a broker that does not answer is tried: full jitter over a doubling interval. Used by the adapters."""

import random

FIRST_S, LONGEST_S = 0.2, 15.0


def pause_s(failures: int) -> float:
    """Before the next try, after so many failures in a row."""
    return random.SystemRandom().uniform(0, min(LONGEST_S, FIRST_S * 2 ** min(failures, 16))) + FIRST_S / 2
