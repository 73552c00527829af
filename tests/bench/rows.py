"""A measured figure, the file that keeps figures, and the table. Used by __main__ and every case; measures nothing.

The file is a list of {name, value, unit} with, where there is one, `peer` (the bound or the rival measured in the
same run, in the same unit) and `ratio` (value / peer). A later run of some cases replaces only their rows.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the peer; None without one."""
        return self.value / self.peer if self.peer else None

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file, rounded to four significant digits."""
        shown = {"name": self.name, "value": _rounded(self.value), "unit": self.unit}
        if self.peer is not None:
            shown["peer"] = _rounded(self.peer)
        if self.ratio is not None:
            shown["ratio"] = _rounded(self.ratio)
        return shown


class AtLeast(float):
    """A goal that is to be reached; other goals are not to be passed."""


class TimesPeer(float):
    """A goal for the ratio: at most so many times the peer."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def keep(file: Path, row: Row) -> None:
    """Puts a row in the place of an older one of its name, or at the end."""
    known = json.loads(file.read_text()) if file.exists() else []
    rows = {each["name"]: each for each in known} | {row.name: row.as_json()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    part.replace(file)


def table(file: Path, goals: dict[str, float]) -> str:
    """All rows of the file as text."""
    rows = json.loads(file.read_text()) if file.exists() else []
    cells = [("NAME", "VALUE", "UNIT", "GOAL", "PEER", "RATIO")]
    cells += [
        (
            r["name"],
            f"{r['value']:g}",
            r["unit"],
            _goal(goals.get(r["name"])),
            _cell(r.get("peer")),
            _cell(r.get("ratio")),
        )
        for r in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _goal(value: float | None) -> str:
    if value is None:
        return ""
    return (
        f"{'>=' if isinstance(value, AtLeast) else '<='} {value:g}{' x peer' if isinstance(value, TimesPeer) else ''}"
    )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
