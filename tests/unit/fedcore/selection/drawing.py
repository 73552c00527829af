"""Candidates and draws for the tests of the policies."""

from typing import Any

from fedcore.selection.candidates import Candidate, Draw


def sites(count: int, **facts: Any) -> list[Candidate]:
    """s00, s01, … alike."""
    return [Candidate(f"s{number:02}", **facts) for number in range(count)]


def draw(count: int = 1, round_: int = 1, **more: Any) -> Draw:
    return Draw(**{"seed": 7, "round": round_, "attempt": 1, "count": count} | more)


def names(chosen: Any) -> list[str]:
    return sorted(each.name for each in chosen)
