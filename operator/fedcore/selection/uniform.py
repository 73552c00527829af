"""Policy Random: so many candidates, each set of that size as likely as any other. Pure."""

from collections.abc import Sequence

from fedcore.selection.candidates import Candidate, Draw, by_lot


def chosen(candidates: Sequence[Candidate], draw: Draw) -> Sequence[Candidate]:
    """The first of a random order."""
    return by_lot(candidates, draw)[: draw.count]
