"""Every way in which sites can be lost in a round that hides updates: the survivors' sum to the bit, or nothing."""

import random
from itertools import combinations_with_replacement

import numpy as np
import pytest

from fedapi.wire.store import FailureRecord
from fedcore.homomorphic.hub import LEAST_AGREEING
from tests.unit.fedcore.rounds.encrypted_round import EncryptedFederation, encrypted_config, sum_of
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


def test_every_drop_out_pattern_gives_the_sum_of_encrypted_updates_or_fails_closed():
    """The same of four sites; but who makes the key is needed in Share, and two are enough to open."""
    counted = {"sum": 0, "none": 0}
    job = encrypted_config("abcd", secure=settings(scheme="CKKS", threshold=THRESHOLD, colluding=0), quorum=THRESHOLD)
    for pattern in combinations_with_replacement(range(NEVER + 1), 4):
        federation, lost = EncryptedFederation(job).start(), dict(zip("abcd", pattern, strict=True))
        makers = federation.makers = []
        attempt(federation, lost)
        after = {step: [name for name, at in lost.items() if at > STEPS.index(step)] for step in STEPS}
        keyed = all(lost[name] > STEPS.index("Share") for name in makers)
        enough = min(len(after[step]) for step in ("Advertise", "Mask", "Consent")) >= THRESHOLD
        is_sum = keyed and enough and len(after["Open"]) >= LEAST_AGREEING
        counted["sum" if is_sum else "none"] += 1
        if is_sum:
            assert np.array_equal(federation.total(), sum_of(after["Mask"])), pattern
            assert [term.client for term in federation.folds[-1].terms] == after["Mask"]
        else:
            assert not federation.folds, pattern
            assert len(federation.of(FailureRecord)) == 1
    assert min(counted.values()) > 0


@pytest.mark.parametrize("seed", range(3))
def test_beyond_the_complete_graph_losses_and_kills_at_random_give_the_survivors_sum(seed):
    drawn = random.Random(seed)
    names = [f"{chr(97 + number % 26)}{number}" for number in range(40)]
    federation = Federation(config(names)).start()
    lost = {name: drawn.randrange(NEVER) for name in drawn.sample(names, 6)}
    attempt(federation, lost, frozenset(step for step in range(NEVER) if drawn.random() < 0.5))
    masked = [name for name in federation.state.current.plan.selected if lost.get(name, NEVER) > STEPS.index("Mask")]
    assert 0 < len(masked) < len(names)
    assert np.array_equal(federation.total(), plain_sum(masked))
    assert [term.client for term in federation.folds[-1].terms] == masked
