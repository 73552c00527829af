"""Fashion-MNIST by ten sites whose images differ, by every strategy of means: 6,000 images, Dirichlet(0.5), twenty rounds.

Each learns what docs/strategies says of it, which has the same numbers beside its figures. Robust rules are in
test_robust_rules_learn.py.
"""

import re
from pathlib import Path

import pytest
import torch

from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from tests.long.fashion import SGD, Division, learned

PAGE = Path(__file__).resolve().parents[2] / "docs" / "strategies" / "README.md"
TOLERANCE = 0.03  # of an accuracy between kinds of CPU; on one machine it is the same in every run
ADAPTIVE = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "tau": 0.001}
STRATEGIES = {
    "FedAvg": ({}, SGD),
    "FedAvgM": ({"momentum": 0.5, "learning_rate": 1.0}, SGD),
    "FedAdagrad": ({"learning_rate": 0.03, "beta1": 0.0, "tau": 0.001}, SGD),
    "FedAdam": (ADAPTIVE, SGD),
    "FedYogi": (ADAPTIVE, SGD),
    "FedProx": ({"mu": 0.01}, SGD),
    "SCAFFOLD": ({"learning_rate": 1.0}, SGD),
    "FedNova": ({}, SGD),
    "FedBuff": ({"buffer_size": 5, "learning_rate": 1.0, "staleness_exponent": 0.5}, SGD),
    "DiLoCo": (
        {"learning_rate": 0.7, "momentum": 0.9},
        TrainingSettings(
            epochs=None, local_steps=20, batch_size=32, optimizer={"name": "AdamW", "learning_rate": 0.001}
        ),
    ),
    "FedSGD": ({"learning_rate": 0.1}, TrainingSettings(batch_size=500)),
}
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def ten_sites():
    before = torch.get_num_threads()
    yield Division(10, 6000, 0.5)
    torch.set_num_threads(before)


def promised(name: str) -> list[float | None]:
    """A row of the page's table: accuracy without attackers, and with them where it says any."""
    row = re.search(rf"^\| {re.escape(name)} \|(.+)\|$", PAGE.read_text(), re.MULTILINE)
    assert row, f"{PAGE.name} has no row {name}"
    return [float(cell) for cell in row.group(1).split("|")[:2] if re.fullmatch(r" *[\d.]+ *", cell)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_learns_what_the_page_says(ten_sites, name):
    numbers, settings = STRATEGIES[name]
    found = learned(ten_sites, StrategySettings(name=name, parameters=numbers), settings)
    print(f"\n{name}: {found}")
    assert [found] == pytest.approx(promised(name), abs=TOLERANCE)
