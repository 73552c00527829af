"""Policy Fair: who waited longest comes first. Pure.

A site's turn is the last round whose commit has its update. Who was selected in vain keeps its place in the row for one more
round: a straggler gets its turn. Who was selected in vain twice or more in a row has had it, so that a site that never delivers
cannot keep the others out (`turn` of fedcore.rounds.participation). Of those that waited equally long it is drawn who comes first.
"""

from collections.abc import Sequence

from fedcore.selection.candidates import Candidate, Draw, by_lot


def chosen(candidates: Sequence[Candidate], draw: Draw) -> list[Candidate]:
    """Those whose turn is longest ago."""
    return sorted(by_lot(candidates, draw), key=lambda each: each.turn)[: draw.count]
