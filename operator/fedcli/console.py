"""Where commands write: lines are neither cut nor broken."""

from rich.console import Console
from rich.table import Table

_WIDE = 4096  # columns


def out() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show(table: Table) -> None:
    """A table of names, on standard output, as wide as they are: a name that is cut short is of no use."""
    Console(highlight=False, soft_wrap=True, width=_WIDE).print(table)
