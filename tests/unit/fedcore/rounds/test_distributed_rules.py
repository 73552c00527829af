"""Rounds in which sites add the noise: what is charged for committed rounds, and for attempts that might have been opened."""

import pytest

from fedaggregator.status import status
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import Privacy
from fedapi.wire.store import FailureRecord
from fedcore.privacy import gaussian
from fedcore.privacy.distributed import concentrated
from fedcore.privacy.distributed.lattice import Lattice
from fedcore.rounds import distributed
from fedcore.rounds.effects import Measure
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds.masked_round import ITEMS, STEPS, Federation, attempt, config

DELTA = 1e-5


def private(**values) -> Federation:
    rounds = values.pop("rounds", 2)
    asked = Privacy(mode="Distributed", clip_norm=1.0, delta=DELTA, **values)
    return Federation(config(privacy=asked, rounds=rounds)).start()


def run(federation: Federation) -> list:
    commits = []
    while federation.state.phase is Phase.COLLECTING:
        attempt(federation, {})
        commits.append(federation.commit())
    return commits


def test_a_round_is_charged_for_as_its_fewest_sites_hide_it():
    federation = private(noise_multiplier=2.0)
    plan = federation.state.current.plan
    assert (plan.secure.threshold, plan.secure.colluding, plan.privacy.denominator) == (4, 1, 5)
    assert federation.state.measured.items == ITEMS
    attempt(federation, {})
    assert federation.folds[-1].secure.participants.whole_samples is None, "all count alike"
    charge = federation.commit().privacy
    rho = concentrated.rho_of(Lattice(clip_norm=1.0, items=ITEMS, sites=5, honest=3, noise_multiplier=2.0))
    assert charge.rho == pytest.approx(rho)
    assert charge.epsilon == pytest.approx(concentrated.epsilon_of(rho, DELTA))
    assert charge.epsilon > gaussian.epsilon_of(1 / 2.0, DELTA), "it is never below what exact Gaussian noise costs"
    told = status(federation.state)["privacy"]
    assert (told["mode"], told["noiseMultiplier"]) == ("Distributed", "2")


def test_a_target_is_met_by_the_last_round_and_never_passed():
    commits = run(private(target_epsilon=3.0, rounds=4))
    assert len(commits) == 4
    assert [each.privacy.epsilon for each in commits] == sorted(each.privacy.epsilon for each in commits)
    assert 2.999 < commits[-1].privacy.epsilon <= 3.0 * (1 + 1e-9)


def test_a_round_that_would_pass_the_target_is_not_run():
    federation = private(noise_multiplier=2.0, target_epsilon=4.0, rounds=9)
    commits = run(federation)
    assert commits[-1].privacy.epsilon <= 4.0
    assert concentrated.epsilon_of(federation.state.account.rho + commits[0].privacy.rho, DELTA) > 4.0
    federation.close_step()
    assert (federation.state.end.result, federation.state.end.reason) == ("Succeeded", "PrivacyBudgetSpent")


def test_a_round_that_turns_out_to_be_one_too_many_leaves_a_model_that_is_evaluated():
    """What its sites cost beyond exact Gaussian noise is known with the plan: the target allows for one and a bit less."""
    rho, exact = run(private(noise_multiplier=2.0, rounds=1))[0].privacy.rho, 2.0**-2 / 2
    assert rho > exact
    target = concentrated.epsilon_of(rho + (rho + exact) / 2, DELTA)
    federation = private(noise_multiplier=2.0, target_epsilon=target, rounds=9)
    assert len(run(federation)) == 1
    assert federation.state.phase is Phase.EVALUATING
    assert federation.state.closing.expected
    federation.close_step()
    assert (federation.state.end.result, federation.state.end.reason) == ("Succeeded", "PrivacyBudgetSpent")


@pytest.mark.parametrize("step", STEPS)
def test_an_attempt_costs_as_soon_as_its_survivors_are_told(step):
    federation = private(target_epsilon=3.0, rounds=2)
    first = federation.state.current.plan
    attempt(federation, {"a": STEPS.index(step), "b": STEPS.index(step)})
    (failure,) = federation.of(FailureRecord)
    told = step in ("Consent", "Open")
    assert (failure.privacy is not None) == told
    second = federation.of(PlanRecord)[-1]
    assert second.attempt == 2
    assert (second.privacy.noise_multiplier > first.privacy.noise_multiplier) == told, "less is left for it"
    spent = distributed.spent(federation.state).epsilon(DELTA)
    assert spent == (failure.privacy.epsilon if told else 0.0)
    federation.kill()
    assert distributed.spent(federation.state).epsilon(DELTA) == spent
    attempt(federation, {})
    charge = federation.commit().privacy
    assert charge.rho >= (failure.privacy.rho if told else 0.0)
    assert federation.state.account.rho == charge.rho, "the commit has all of the round's attempts"
    run(federation)
    assert federation.state.account.epsilon(DELTA) <= 3.0 * (1 + 1e-9)


def test_what_failed_attempts_told_ends_the_budget_too():
    federation = private(noise_multiplier=2.0, target_epsilon=3.0, rounds=5)
    for _ in range(2):
        if federation.state.phase is Phase.COLLECTING:
            attempt(federation, {"a": 4, "b": 4})
    assert federation.state.end is not None
    assert federation.state.end.reason == "PrivacyBudgetSpent"
    assert distributed.spent(federation.state).epsilon(DELTA) <= 3.0


def test_only_parameters_are_in_a_sum_that_is_released():
    orders = []

    class Noted(Federation):
        def _perform(self, effects):
            orders.extend(effect for effect in effects if isinstance(effect, Measure))
            super()._perform(effects)

    asked = Privacy(mode="Distributed", clip_norm=1.0, delta=DELTA, noise_multiplier=1.0)
    Noted(config(privacy=asked)).start()
    Noted(config()).start()
    assert [order.parameters for order in orders] == [True, False]
