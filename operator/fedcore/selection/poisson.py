"""Policy Poisson: each candidate takes part with probability `fraction`, whatever becomes of the others. Pure.

These are the independent draws that amplification by sampling is proved for (Mironov et al. 2019, arXiv 1908.10530): how
many sites take part is random too, and it may be none. A draw is never made larger or smaller afterwards.
"""

from collections.abc import Iterator, Sequence

from fedcore.selection.candidates import LOTS, Candidate, Draw


def chosen(candidates: Sequence[Candidate], draw: Draw) -> Iterator[Candidate]:
    """Those whose own lot is below the fraction."""
    bound = int((1.0 if draw.fraction is None else draw.fraction) * LOTS)
    return (each for each in candidates if draw.lot("poisson", each.name) < bound)
