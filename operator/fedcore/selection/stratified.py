"""Policy Stratified: the draw is shared out over strata by their sizes, and made at random within each. Pure.

With at least as many places as strata each gets one; the others go by largest remainders (Hamilton's method). With fewer
places than strata, those that are left over after the whole shares are drawn systematically (Madow 1949): a stratum is as
likely as its share says, so that small ones are not left out for ever.
"""

from collections.abc import Mapping, Sequence

from fedcore.selection.candidates import LOTS, Candidate, Draw, by_lot


def chosen(candidates: Sequence[Candidate], draw: Draw) -> list[Candidate]:
    """So many of each stratum as its share is."""
    strata: dict[str, list[Candidate]] = {}
    for each in candidates:
        strata.setdefault(each.stratum, []).append(each)
    shares = places({name: len(sites) for name, sites in strata.items()}, draw)
    return [each for name in sorted(strata) for each in by_lot(strata[name], draw)[: shares[name]]]


def places(sizes: Mapping[str, int], draw: Draw) -> dict[str, int]:
    """How many of the draw's places each stratum gets: at most its size, together the count."""
    total = sum(sizes.values())
    count = min(draw.count, total)
    if count >= len(sizes):
        return _one_each(sizes, count, total)
    whole = {name: count * size // total for name, size in sizes.items()}
    rests = {name: count * size % total for name, size in sizes.items()}
    drawn = _systematic(rests, total, draw)
    return {name: whole[name] + (name in drawn) for name in sizes}


def _one_each(sizes: Mapping[str, int], count: int, total: int) -> dict[str, int]:
    """One for each, and the others where the share is furthest ahead of what the stratum has."""
    shared = {name: max(1, count * size // total) for name, size in sizes.items()}

    def ahead(name: str) -> tuple[int, str]:
        return shared[name] * total - count * sizes[name], name  # times `total`, so that it stays whole

    while (more := count - sum(shared.values())) != 0:
        if more > 0:
            shared[min((name for name in sizes if shared[name] < sizes[name]), key=ahead)] += 1
        else:
            shared[max((name for name in sizes if shared[name] > 1), key=ahead)] -= 1
    return shared


def _systematic(rests: Mapping[str, int], total: int, draw: Draw) -> set[str]:
    """Those of the strata at which marks fall that lie `total` apart on a line of all rests, from a random start."""
    mark, end, drawn = draw.lot("strata", "") * total // LOTS, 0, set()
    for name in sorted(rests, key=lambda name: (draw.lot("strata", name), name)):
        end += rests[name]
        if mark < end:
            drawn.add(name)
            mark += total
    return drawn
