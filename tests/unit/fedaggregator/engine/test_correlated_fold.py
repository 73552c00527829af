"""Folds whose noise is correlated: each row is what its keys say, and models have as much noise as the matrix promises."""

import math

import numpy as np
import pytest

from fedapi.wire.privacy import DrawnNoise, Row
from fedcore.privacy.factorization import noising, sensitivity_squared
from fedcore.rounds import noisekeys
from fedcore.rounds.effects import Fold
from tests.unit.fedaggregator.engine.test_private_fold import PARAMETERS, SITES, Job, noise, tensors

BANDS, APART, ROUNDS, NOISE, CLIP = 3, 4, 8, 0.5, 2.0


class Rounds:
    """Models that follow each other, of updates without any length: all that changes is noise."""

    def __init__(self, key: bytes = bytes(32)) -> None:
        self.job = Job(key)
        self.drawn: list[DrawnNoise] = []
        self.orders: list[Fold] = []

    def order(self, attempt: int = 1) -> Fold:
        round_ = len(self.drawn) + 1
        row = Row(bands=BANDS, min_separation=APART, since=1, earlier=tuple(self.drawn[1 - BANDS :]))
        terms = self.job.terms(tensors(round_, size=0.0))
        return self.job.order(terms, round_=round_, attempt=attempt, row=row, noise_multiplier=NOISE, clip_norm=CLIP)

    def next(self) -> dict[str, np.ndarray]:
        order = self.order()
        model = self.job.fold(order)
        name = noisekeys.drawn_for("uid", order, order.privacy).hex()
        self.drawn.append(DrawnNoise(round=order.round, drawn_for=name))
        self.orders.append(order)
        return model

    def go_on(self) -> None:
        self.job.base, self.job.hub_state = self.job.made.model, self.job.made.hub_state


@pytest.fixture(scope="module")
def run() -> tuple[Rounds, list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """The rounds, their models, and what each round's own keys draw."""
    rounds, models, own = Rounds(), [], []
    for _ in range(ROUNDS):
        models.append(rounds.next())
        own.append(noise(rounds.job, rounds.orders[-1], own=True))
        rounds.go_on()
    return rounds, models, own


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_round_adds_its_own_noise_and_takes_back_that_of_the_rounds_before(run, name):
    _, models, own = run
    before = tensors(0)[name].astype(np.float64)
    for at, model in enumerate(models):
        parts = [share * own[at - k][name] for k, share in enumerate(noising(BANDS)) if at >= k]
        near = 4e-3 if name == "half" else 4e-6
        assert np.allclose(model[name], before + sum(parts), rtol=0, atol=near * np.abs(model[name]).max())
        before = model[name].astype(np.float64)


def test_models_have_less_noise_than_independent_noise_of_the_same_epsilon_leaves(run):
    _, models, _ = run
    change = (models[-1]["big"].astype(np.float64) - tensors(0)["big"]).std()
    shares = np.cumsum([*noising(BANDS), *[0.0] * ROUNDS][:ROUNDS])
    scale = NOISE * CLIP / SITES
    assert change == pytest.approx(scale * math.sqrt(np.sum(shares**2)), rel=4 / math.sqrt(2 * 600_001))
    participations = math.ceil(ROUNDS / APART)
    same_epsilon = scale * math.sqrt(participations / sensitivity_squared(BANDS, APART, ROUNDS))
    assert change < 0.7 * same_epsilon * math.sqrt(ROUNDS)


def test_what_is_released_of_a_round_is_hidden_by_noise_that_no_other_round_tells(run):
    """One row with another key: what an attempt that failed would have released tells nothing of the one that counts."""
    rounds, _, own = run
    last = rounds.orders[-1]
    other = Rounds(key=bytes([1]) * 32)
    assert not np.isclose(noise(other.job, last)["bias"], noise(rounds.job, last)["bias"]).any()
    assert not np.isclose(own[-1]["bias"], own[-2]["bias"]).any()
    retried = rounds.order(attempt=2)
    assert not np.isclose(noise(rounds.job, retried, own=True)["bias"], own[-1]["bias"]).any()
