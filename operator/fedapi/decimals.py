"""Numbers as text for people and records, in one spelling: `1e-5`, as users write it, and not `1e-05`. Pure."""

import re

_EXPONENT = re.compile(r"e[+]?(-?)0*([0-9])")


def short(value: float) -> str:
    """With 6 significant digits at most: 0.001, 1e-5."""
    return _plain(f"{value:.6g}")


def exact(value: float) -> str:
    """With as many digits as tell it from every other number of 64 bits."""
    return _plain(repr(value))


def _plain(text: str) -> str:
    return _EXPONENT.sub(r"e\1\2", text)
