"""Which updates point against the others, from their inner products. Pure; called by judging.py.

An update's others are those that are not anomalous, each with its direction alone: none is stronger for being longer. The worst is
taken out before the next is looked at, because the others of an honest one have it among them. Those that are left are the majority.
"""

import math
from collections.abc import Collection, Sequence

from fedcore.tensors.arithmetic import Array


def against(gram: Array, least: float, judged: Collection[int], out: frozenset[int]) -> dict[int, float]:
    """Updates, and their cosine to the mean direction of the others, where it is below `least`. `out`: anomalous already."""
    cosines = _cosines(gram)
    among = [at for at in range(len(cosines)) if at not in out and cosines[at][at] > 0]
    left, found = list(among), dict[int, float]()
    while len(found) + 1 <= (len(among) - 1) // 2:
        worst = min(
            (at for at in left if at in judged), key=lambda at: (_to_others(cosines, left, at), at), default=None
        )
        if worst is None or (cosine := _to_others(cosines, left, worst)) >= least:
            break
        found[worst] = float(f"{cosine:.6g}")
        left.remove(worst)
    return found


def to_others(gram: Array, out: Collection[int]) -> list[float | None]:
    """Of each update its cosine to the mean direction of the others, without those that are anomalous; None where there is none.

    To 4 digits: inner products depend on the processor in digits beyond.
    """
    cosines = _cosines(gram)
    among = [at for at in range(len(cosines)) if at not in out and cosines[at][at] > 0]
    found = {at: _to_others(cosines, sorted({*among, at}), at) for at in range(len(cosines)) if cosines[at][at] > 0}
    alone = {at for at in found if not set(among) - {at}}
    return [None if at in alone or at not in found else float(f"{found[at]:.4g}") for at in range(len(cosines))]


def _to_others(cosines: Sequence[Sequence[float]], among: Sequence[int], at: int) -> float:
    """The cosine of one to the sum of the directions of the others; 0 where these cancel each other."""
    others = [each for each in among if each != at]
    square = math.fsum(cosines[one][two] for one in others for two in others)
    return math.fsum(cosines[at][other] for other in others) / math.sqrt(square) if square > 1e-12 else 0.0


def _cosines(gram: Array) -> list[list[float]]:
    """Between each two; 0 for an update of zeros."""
    rows: list[list[float]] = gram.tolist()
    norms = [math.sqrt(row[at]) for at, row in enumerate(rows)]
    return [
        [value / (norms[i] * norms[j]) if norms[i] > 0 and norms[j] > 0 else 0.0 for j, value in enumerate(row)]
        for i, row in enumerate(rows)
    ]
