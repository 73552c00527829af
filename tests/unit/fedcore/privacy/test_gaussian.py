"""The cost of Gaussian noise: against values of dp-accounting 0.6.0 and of the definition, and against Renyi accounting."""

import math

import pytest

from fedcore.privacy.account import Account
from fedcore.privacy.gaussian import delta_of, epsilon_of, mu_of

# noise multiplier, releases, delta, epsilon by PLD (discretized at 1e-4; the second at 1e-3), by RDP: dp-accounting 0.6.0
REFERENCES = [
    (1.0, 1, 1e-5, 4.3771781000249295, 4.728507067217623),
    (1.0, 100, 1e-5, 91.81728977111597, 96.11630842505602),
    (5.0, 100, 1e-3, 7.581279926592958, 8.416496187447095),
    (2.0, 20, 1e-6, 12.595246739361349, 13.37637916335795),
    (10.0, 50, 1e-5, 2.9432252461019512, 3.1889915626335883),
    (0.5, 1, 1e-5, 9.997256150242432, 10.725509696418232),
    (30.0, 5, 1e-6, 0.2898800827823774, 0.31462507370184767),
    (4.0, 16, 1e-5, 4.3771781000249295, 4.728507067217623),
]


@pytest.mark.parametrize(("multiplier", "releases", "delta", "pld", "rdp"), REFERENCES)
def test_it_is_what_others_compute(multiplier, releases, delta, pld, rdp):
    account = Account()
    for _ in range(releases):
        account = account.charged(multiplier)
    assert account.epsilon(delta) == pytest.approx(pld, abs=1e-4)
    assert account.epsilon(delta) < rdp


def test_noise_that_differs_from_round_to_round():
    account = Account()
    for multiplier in [3.0] * 4 + [5.0] * 10:
        account = account.charged(multiplier)
    assert account.epsilon(1e-5) == pytest.approx(3.970164317780151, abs=1e-4)


@pytest.mark.parametrize("mu", [0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_renyi_accounting_is_never_below(mu, delta):
    """alpha mu^2 / 2, turned to epsilon as Canonne, Kamath and Steinke 2020, proposition 12, do it."""
    orders = [1 + 1.02**k * 1e-3 for k in range(700)]
    renyi = min(a * mu**2 / 2 + math.log1p(-1 / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders)
    assert epsilon_of(mu, delta) <= renyi


@pytest.mark.parametrize("mu", [0.02, 0.3, 1.0, 5.0, 40.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 20.0])
def test_delta_is_the_integral_that_defines_it(mu, epsilon):
    """What P = N(mu, 1) has above e^epsilon Q = N(0, 1), by the midpoint rule."""
    start, step = epsilon / mu + mu / 2, 1e-4  # where the two are equal
    points = [start + (k + 0.5) * step for k in range(int((12 + abs(mu - start)) / step))]
    excess = sum(math.exp(-((x - mu) ** 2) / 2) - math.exp(epsilon - x * x / 2) for x in points) * step
    assert delta_of(epsilon, mu) == pytest.approx(excess / math.sqrt(2 * math.pi), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0, 100.0, 1000.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-10])
def test_a_budget_allows_for_what_costs_no_more(epsilon, delta):
    mu = mu_of(epsilon, delta)
    assert delta_of(epsilon, mu) <= delta
    assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-6)
    assert epsilon_of(mu * 1.001, delta) > epsilon


def test_nothing_costs_nothing():
    assert Account().epsilon(1e-5) == 0
    assert epsilon_of(1e-9, 1e-5) == 0
    assert delta_of(1.0, 0.0) == 0
