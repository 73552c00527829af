"""Durations as users write them (`90s`, `10m`, `1h30m`), and percentages. Pure; used by models and the operator."""

import re

PATTERN = r"^([0-9]+(ms|s|m|h))+$"
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds of a duration such as `1h30m`. ValueError names the text when it is not one."""
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 10m or 1h30m")
    return sum(int(n) * _UNIT_S[unit] for n, unit in re.findall(r"([0-9]+)(ms|s|m|h)", text))


def quorum_count(quorum: int | str, selected: int) -> int:
    """How many updates a quorum means: a count as it is, or a percentage of `selected` sites rounded up; at least 1."""
    if isinstance(quorum, int):
        return max(1, quorum)
    return max(1, -(-selected * int(quorum.removesuffix("%")) // 100))
