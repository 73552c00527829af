"""Clip norms that follow the updates: the noise is shared out as the theorem says, and the norm ends at the quantile."""

import math

import numpy as np
import pytest

from fedcore.privacy import adaptive


@pytest.mark.parametrize("z", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("ratio", [0.51, 1.0, 20.0])
def test_sum_and_count_together_cost_what_the_multiplier_says(z, ratio):
    """A site changes the sum by one clip norm and the count by a half: squares of mu add up."""
    count = ratio * z
    mu = math.hypot(1 / adaptive.sum_noise(z, count), 0.5 / count)
    assert mu == pytest.approx(1 / z)
    assert adaptive.sum_noise(z, count) > z


def test_without_a_count_the_sum_has_all():
    assert adaptive.sum_noise(1.5, None) == 1.5
    with pytest.raises(ValueError, match="alone tells more"):
        adaptive.sum_noise(1.0, 0.5)


@pytest.mark.parametrize(("sites", "z", "noise"), [(1000, 1.0, 50.0), (10, 2.0, 2.0), (4, 0.5, 0.5)])
def test_the_count_has_a_twentieth_of_the_sites_or_little_of_the_budget(sites, z, noise):
    assert adaptive.count_noise(None, z, sites) == noise
    assert adaptive.sum_noise(z, noise) <= z * math.sqrt(4 / 3) * (1 + 1e-12)
    assert adaptive.count_noise(7.0, z, sites) == 7.0


def test_shares():
    assert adaptive.share_within([1.0, 2.0, 3.0, 4.0], 2.0, 0.0, 4) == 0.5
    assert adaptive.share_within([1.0], 2.0, 0.0, 4) == 0.625, "three are not there, and each is a half"
    assert adaptive.share_within([], 2.0, 0.0, 4) == 0.5
    assert [adaptive.share_within([1.0], 2.0, noise, 2) for noise in (-9.0, 9.0)] == [0.0, 1.0]


def test_one_site_more_or_less_changes_the_count_by_a_half():
    norms = [1.0, 3.0, 5.0]
    for bound in (0.5, 3.0, 9.0):
        whole = adaptive.share_within(norms, bound, 0.0, 10)
        for left_out in range(3):
            rest = norms[:left_out] + norms[left_out + 1 :]
            assert abs(adaptive.share_within(rest, bound, 0.0, 10) - whole) * 10 == pytest.approx(0.5)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("begun", [0.01, 100.0])
def test_the_norm_ends_at_the_quantile_from_either_side(quantile, begun):
    rng = np.random.default_rng(3)
    norm, found = begun, []
    for _ in range(400):
        norms = rng.lognormal(1.0, 0.5, 100)
        share = adaptive.share_within(norms.tolist(), norm, rng.normal(0, 5), 100)
        norm = adaptive.next_norm(norm, share, quantile, 0.2, begun)
        found.append(norm)
    exact = np.quantile(rng.lognormal(1.0, 0.5, 100_000), quantile)
    assert np.median(found[200:]) == pytest.approx(exact, rel=0.05)


def test_a_norm_stays_a_number():
    norm = 1.0
    for _ in range(1000):
        norm = adaptive.next_norm(norm, 0.0, 0.99, 5.0, 1.0)
    assert norm == 1e6
    for _ in range(1000):
        norm = adaptive.next_norm(norm, 1.0, 0.01, 5.0, 1.0)
    assert norm == 1e-6
