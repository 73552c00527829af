"""Epsilon against reference values, which dp-accounting 0.6.0 has computed with its accountant of privacy loss distributions."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrainer.training.dpsgd import accountant
from fedtrainer.training.dpsgd.accountant import Release, epsilon, noise_multiplier, renyi_epsilon

REFERENCES = [  # noise multiplier, sampling rate, steps, delta, epsilon
    (1.0, 0.01, 1_000, 1e-5, 1.828244),
    (1.1, 256 / 60_000, 14_062, 1e-5, 2.381686),
    (1.3, 250 / 60_000, 3_600, 1e-5, 0.853030),
    (0.7, 0.01, 1_000, 1e-5, 4.618291),
    (2.0, 0.01, 1_000, 1e-5, 0.622049),
    (1.0, 0.1, 100, 1e-5, 7.046603),
    (1.0, 0.001, 10_000, 1e-6, 0.555392),
    (1.0, 1.0, 1, 1e-5, 4.377178),
    (1.0, 1.0, 100, 1e-5, 91.817290),
    (1.0, 0.2, 100, 1e-3, 10.6031),
    (5.0, 1.0, 100, 1e-3, 7.5813),
    (3.0, 0.5, 50, 1e-3, 4.0344),
    (1.0, 0.5, 10, 1e-5, 10.459927),
    (0.8, 0.9, 20, 1e-5, 35.444254),
    (1.2, 0.32, 40, 1e-3, 7.713655),
    (4.0, 0.25, 200, 1e-5, 3.949338),
    (20.0, 0.9, 5, 1e-3, 0.199545),
    (0.5, 0.1, 7, 1e-4, 8.812354),
]
COMPOSED = [  # several kinds of steps together
    ([(1.0, 0.16, 40), (1.4, 0.16, 40)], 1e-5, 8.409638),
    ([(2.0, 0.4, 12), (2.5, 1.0, 3)], 1e-5, 4.666430),
    ([(1.5, 0.02, 150), (1.5, 0.03, 50)], 1e-5, 1.009801),
]


def agrees(releases, delta, reference):
    found = epsilon(releases, delta)
    if all(each.sample_rate == 1 for each in releases):
        assert found == pytest.approx(reference, abs=1e-4)
        return
    least, most = accountant._bounds(accountant._together(releases), delta, accountant._FINE)
    assert found == most
    assert least - 1e-4 < reference < most + 1e-4
    assert (least + most) / 2 == pytest.approx(reference, abs=1e-3, rel=5e-5)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "reference"), REFERENCES)
def test_the_reference_values(noise, rate, steps, delta, reference):
    agrees([Release(noise, rate, steps)], delta, reference)


@pytest.mark.parametrize(("releases", "delta", "reference"), COMPOSED)
def test_steps_of_several_kinds(releases, delta, reference):
    agrees([Release(*each) for each in releases], delta, reference)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "reference"), REFERENCES)
def test_renyi_is_never_below(noise, rate, steps, delta, reference):
    assert renyi_epsilon([Release(noise, rate, steps)], delta) >= reference - 1e-6


def test_nothing_told_costs_nothing():
    assert epsilon([], 1e-5) == 0.0
    assert epsilon([Release(1.0, 1.0, 0)], 1e-5) == 0.0


@settings(max_examples=5, deadline=None)
@given(noise=st.floats(0.6, 5), rate=st.floats(0.05, 1.0), steps=st.integers(2, 30))
def test_more_steps_cost_more_and_their_order_nothing(noise, rate, steps):
    some = [Release(noise, rate, steps - 1), Release(noise, rate, 1)]
    whole = epsilon([Release(noise, rate, steps)], 1e-3)
    assert epsilon(some, 1e-3) == epsilon(some[::-1], 1e-3) == whole
    assert epsilon(some[:1], 1e-3) <= whole + 1e-3, "but for the error of the grid"
    assert whole <= renyi_epsilon(some, 1e-3)


@pytest.mark.parametrize(("target", "reference"), [(1.0, 1.4158), (2.0, 0.9592), (8.0, 0.5863)])
def test_noise_for_a_target(target, reference):
    found = noise_multiplier([], 0.01, 1_000, target, 1e-5)
    assert reference * 0.999 < found < reference * 1.02
    assert epsilon([Release(found, 0.01, 1_000)], 1e-5) <= target


def test_noise_for_what_is_left_of_a_target():
    spent = [Release(2.0, 0.25, 12)]
    found = noise_multiplier(spent, 0.25, 24, 3.0, 1e-3)
    assert epsilon([*spent, Release(found, 0.25, 24)], 1e-3) <= 3.0
    assert epsilon([*spent, Release(found / 1.02, 0.25, 24)], 1e-3) > 3.0
    assert noise_multiplier([Release(1.0, 1.0, 100)], 0.25, 1, 3.0, 1e-3) is None


def test_accountants_that_contradict_each_other_are_not_believed(monkeypatch):
    monkeypatch.setattr(accountant, "_renyi", lambda history, delta: 1.0)
    monkeypatch.setattr(accountant, "_bounds", lambda history, delta, points: (1.1, 1.2))
    with pytest.raises(ArithmeticError, match="contradict each other"):
        epsilon([Release(1.0, 0.11, 100)], 1e-5)


@pytest.mark.parametrize("error", [RuntimeError("Discrete mean differs"), ValueError("Floating point errors dominate")])
def test_what_a_grid_cannot_hold_is_bounded_by_renyi(monkeypatch, error):
    def failing(history, delta, points):
        raise error

    monkeypatch.setattr(accountant, "_bounds", failing)
    accountant._epsilon.cache_clear()
    releases = [Release(1.0, 0.1, 100)]
    assert epsilon(releases, 1e-5) == renyi_epsilon(releases, 1e-5) == pytest.approx(7.9, abs=0.1)
    accountant._epsilon.cache_clear()


def test_so_little_noise_that_a_grid_has_no_room_has_an_epsilon():
    assert 1e3 < epsilon([Release(0.1, 0.5, 1_000)], 1e-5) < math.inf
