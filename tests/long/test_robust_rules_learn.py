"""The same ten sites with robust rules, and with two among them that send the opposite of what they have learned, ten times as long.

The mean breaks, and no rule does. Bulyan is defined for 4f + 3 sites: it has fifteen, of which three attack.
"""

import pytest
import torch

from fedapi.wire.strategy import PreAggregation, StrategySettings
from tests.long.fashion import Division, learned
from tests.long.test_strategies_learn import TOLERANCE, promised

SITES = {"Bulyan": (15, 3)}  # and attackers
TEN = 10, 2
RULES = {
    "Median": {},
    "TrimmedMean": {"byzantine": 2},
    "Krum": {"byzantine": 2},
    "MultiKrum": {"byzantine": 2},
    "GeometricMedian": {"iterations": 8, "smoothing": 1e-6},
    "Bulyan": {"byzantine": 3},
    "NormClipping": {"max_norm": 0.5},
    "FLTrust": {},
    "Krum, mixed": {"byzantine": 2},
}
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def divisions():
    before = torch.get_num_threads()
    yield {count: Division(count, 6000, 0.5) for count in (10, 15)}
    torch.set_num_threads(before)


def settings(name: str) -> StrategySettings:
    rule, _, mixed = name.partition(",")
    pre = PreAggregation(name="NearestNeighbourMixing", byzantine=SITES.get(name, TEN)[1]) if mixed else None
    return StrategySettings(
        name=rule, parameters=RULES.get(name, {}), pre_aggregation=pre, root="root" if rule == "FLTrust" else ""
    )


@pytest.mark.parametrize("name", RULES)
def test_a_robust_rule_stays_within_five_points_of_its_clean_accuracy(divisions, name):
    count, attackers = SITES.get(name, TEN)
    clean, attacked = (learned(divisions[count], settings(name), attackers=each) for each in (0, attackers))
    print(f"\n{name}: {clean} {attacked}")
    assert attacked is not None, "and is a number"
    assert clean - attacked <= 0.05
    assert [clean, attacked] == pytest.approx(promised(name), abs=TOLERANCE)


def test_the_mean_breaks(divisions):
    found = learned(divisions[10], StrategySettings(name="FedAvg"), attackers=2)
    assert found is None or found < 0.2
