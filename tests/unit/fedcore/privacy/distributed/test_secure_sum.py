"""Shares of the noise through secure aggregation: what the hub has is the survivors' steps and noise, to the bit."""

import math
from itertools import combinations

import numpy as np
import pytest

from fedapi.wire.tokens import hkdf
from fedcore.privacy.distributed import discrete
from fedcore.privacy.distributed.concentrated import calibrated, epsilon_of, rho_of
from fedcore.privacy.distributed.lattice import Lattice
from fedcore.secagg.errors import AttemptFailedError
from tests.unit.fedcore.secagg import federation
from tests.unit.fedcore.secagg.federation import MASK, OPEN, SHARE, Federation, seed, terms

ITEMS, ROUNDS, EPSILON, DELTA = 2000, 10, 8.0, 1e-5
TERMS = terms(5, 4, items=ITEMS, colluding=1, minimum_cohort=4)
LATTICE = calibrated(Lattice(0.5, ITEMS, 5, TERMS.threshold - TERMS.colluding, 1.0), EPSILON, DELTA, ROUNDS)
UPDATES = {
    name: 0.01 * np.random.default_rng(n).standard_normal(ITEMS).astype(np.float32)
    for n, name in enumerate(TERMS.roster)
}
KEYS = {name: hkdf(seed(name, TERMS), b"noise") for name in TERMS.roster}


@pytest.fixture(autouse=True)
def _sites_send_their_contributions(monkeypatch):
    monkeypatch.setattr(federation, "update", lambda name, items: LATTICE.contribution(UPDATES[name], KEYS[name]))


def steps_and_noise(names) -> tuple[np.ndarray, np.ndarray]:
    """As integers that never wrap."""
    steps = [LATTICE.rounded(UPDATES[name], hkdf(KEYS[name], b"fedloom rounding")) for name in names]
    shares = (hkdf(KEYS[name], b"fedloom share of the noise") for name in names)
    noise = [discrete.gaussians(key, LATTICE.variance, ITEMS) for key in shares]
    return np.sum(steps, axis=0), np.sum(noise, axis=0)


LOST = [{}, *({name: step} for name in TERMS.roster for step in (SHARE, MASK, OPEN))]


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_the_sum_is_that_of_the_survivors_to_the_bit(lost):
    total = Federation.of(TERMS, lost).run()
    stayed = [name for name in TERMS.roster if lost.get(name, OPEN) > MASK]
    steps, noise = steps_and_noise(stayed)
    assert np.array_equal(total.view(np.int32), steps + noise)
    expected = np.sum([UPDATES[name].astype(np.float64) for name in stayed], axis=0)
    assert np.allclose(LATTICE.decoded(total) - noise * (0.5 / LATTICE.levels), expected, atol=1e-6)


def test_with_too_few_there_is_no_sum():
    for pair in combinations(TERMS.roster, 2):
        with pytest.raises(AttemptFailedError):
            Federation.of(TERMS, dict.fromkeys(pair, MASK)).run()


def test_the_noise_of_the_fewest_survivors_is_what_was_paid_for():
    """Without that of the one who colludes. And the price is the target."""
    assert epsilon_of(ROUNDS * rho_of(LATTICE), DELTA) == pytest.approx(EPSILON)
    for names in combinations(TERMS.roster, 3):
        noise = steps_and_noise(names)[1] * (LATTICE.clip_norm / LATTICE.levels)
        deviation = LATTICE.noise_multiplier * LATTICE.clip_norm
        assert abs(noise.std() / deviation - 1) < 4 / math.sqrt(2 * ITEMS)


def test_a_site_that_is_killed_masks_the_same_bytes():
    """Noise that was drawn anew would be other bytes under the same keys, and end the site's part in the attempt."""
    once = Federation.of(TERMS)
    given = once.share(once.advertise())
    once.mask(given)
    before = dict(once.sent)
    for name in TERMS.roster:
        vector = LATTICE.contribution(UPDATES[name], KEYS[name])
        federation.site.mask(once.sites[name], given[name], vector)
        assert np.array_equal(vector, before[name])
