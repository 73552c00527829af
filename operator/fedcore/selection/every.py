"""Policy All: every candidate. Pure. Where a round can take fewer, which ones is drawn."""

from collections.abc import Sequence

from fedcore.selection.candidates import Candidate, Draw, by_lot


def chosen(candidates: Sequence[Candidate], draw: Draw) -> Sequence[Candidate]:
    """All, or as many as the draw takes."""
    return candidates if draw.count >= len(candidates) else by_lot(candidates, draw)[: draw.count]
