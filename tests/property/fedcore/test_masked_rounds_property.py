"""Every way in which sites can be lost in a masked round: the survivors' sum to the bit, or nothing."""

from itertools import combinations_with_replacement

import numpy as np

from fedapi.wire.store import FailureRecord
from tests.unit.fedcore.rounds.masked_round import NEVER, STEPS, Federation, attempt, config, plain_sum, settings

THRESHOLD = 3


def test_every_drop_out_pattern_gives_the_survivors_sum_or_fails_closed():
    """Of five sites that are alike: who is lost before which step is a multiset of steps."""
    counted = {"sum": 0, "none": 0}
    job = config(secure=settings(threshold=THRESHOLD, colluding=0), quorum=THRESHOLD)
    for pattern in combinations_with_replacement(range(NEVER + 1), 5):
        federation = Federation(job).start()
        attempt(federation, dict(zip("abcde", pattern, strict=True)))
        masked = [name for name, at in zip("abcde", pattern, strict=True) if at > STEPS.index("Mask")]
        opened = sum(at > STEPS.index("Open") for at in pattern)
        counted["sum" if opened >= THRESHOLD else "none"] += 1
        if opened >= THRESHOLD:
            assert np.array_equal(federation.total(), plain_sum(masked)), pattern
            assert [term.client for term in federation.folds[-1].terms] == masked
        else:
            assert not federation.folds, pattern
            assert len(federation.of(FailureRecord)) == 1
    assert counted == {"sum": 21, "none": 231}
