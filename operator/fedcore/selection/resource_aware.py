"""Policy ResourceAware: sites that would miss the deadline are left out. Pure.

What a site needs is the longest of its last trainings (what it says, and at most what the round took) with a margin for the
way of model and update; and more than the time for which rounds were open that it missed since. Where that reaches the deadline
the site is left out: by its trainings for 32 rounds, after a missed round for 1, 2, 4 … up to 32. Then it is tried again,
because sites and networks are repaired. Who missed a round that was over sooner has not proved to be slow, and sites of which
nothing is known are tried. Where too few are left for the round to succeed, those come back that need least.
"""

from collections.abc import Sequence

from fedcore.selection.candidates import Candidate, Draw, by_lot

MARGIN = 1.25  # of the training time, for everything else that a site does in a round
LONGEST = 32  # rounds for which a site is left out


def chosen(candidates: Sequence[Candidate], draw: Draw) -> list[Candidate]:
    """As many of those that are in time as are wanted, drawn at random; where those are too few to succeed, more."""
    fit = [each for each in candidates if not too_slow(each, draw)]
    others = sorted((each for each in by_lot(candidates, draw) if too_slow(each, draw)), key=_needs)
    needed = max(0, min(draw.least, draw.count) - len(fit))
    return [*by_lot(fit, draw)[: draw.count], *others[:needed]]


def too_slow(site: Candidate, draw: Draw) -> bool:
    """Whether a site would miss the deadline, as far as that is known."""
    if site.missed and site.missed_s >= draw.deadline_s:
        return draw.round - site.missed_round <= min(LONGEST, 1 << min(site.missed - 1, LONGEST))
    return MARGIN * max(site.training_s, default=0.0) > draw.deadline_s and draw.round - site.last_round <= LONGEST


def _needs(site: Candidate) -> tuple[int, float]:
    """How far from being in time: by how often it was not, and by its seconds."""
    return site.missed, max(site.training_s, default=0.0)
