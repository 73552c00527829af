"""Rounds whose updates are summed under masks: every drop-out, every kill, and what fails closed."""

from itertools import product

import numpy as np
import pytest

from fedapi.wire.store import CloseRecord, FailureRecord, PlanRecord
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds.masked_round import STEPS, Federation, config, plain_sum, settings

NEVER = len(STEPS)


def is_open(federation: Federation, plan: PlanRecord, step: str) -> bool:
    under_way = federation.state.current
    open_ = federation.state.phase in (Phase.COLLECTING, Phase.OPENING)
    return open_ and under_way.plan.attempt == plan.attempt and under_way.secure.step == step


def attempt(federation: Federation, lost: dict[str, int], killed: frozenset[int] = frozenset()) -> None:
    """One attempt, in which sites stop before a step, and the hub is killed in the middle and at the end of some."""
    plan = federation.state.current.plan
    for at, step in enumerate(STEPS):
        assert federation.step == step
        names = [name for name in plan.selected if lost.get(name, NEVER) > at]
        for number, name in enumerate(names):
            if is_open(federation, plan, step):
                federation.go_on(name)
            if at in killed and number == len(names) // 2:
                federation.kill()
        for name in names:  # asked again after a kill
            if is_open(federation, plan, step):
                federation.go_on(name)
        if is_open(federation, plan, step):
            federation.close_step()
        if federation.state.current is None or federation.state.current.plan.attempt != plan.attempt:
            return
        if at in killed:
            federation.kill()


def test_a_round_without_losses_gives_the_sum_and_commits_all():
    federation = Federation().start()
    plan = federation.state.current.plan
    assert (plan.secure.threshold, plan.secure.minimum_cohort, plan.quorum) == (4, 3, 4)
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde"))
    assert [each.client for each in federation.commit().participants] == list("abcde")
    assert federation.state.current.plan.round == 2
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde", 2))


@pytest.mark.parametrize("threshold", [3, 4])
def test_every_drop_out_pattern_gives_the_survivors_sum_or_fails_closed(threshold):
    counted = {"sum": 0, "none": 0}
    asked = settings(threshold=threshold, colluding=0)
    for pattern in product(range(NEVER + 1), repeat=5):
        if sorted(pattern, reverse=True) != list(pattern):
            continue  # of sites that are alike one order is enough
        federation = Federation(config(secure=asked, quorum=threshold)).start()
        attempt(federation, dict(zip("abcde", pattern, strict=True)))
        masked = [name for name, at in zip("abcde", pattern, strict=True) if at > STEPS.index("Mask")]
        opened = sum(at > STEPS.index("Open") for at in pattern)
        counted["sum" if opened >= threshold else "none"] += 1
        if opened >= threshold:
            assert np.array_equal(federation.total(), plain_sum(masked)), pattern
            assert [term.client for term in federation.folds[-1].terms] == masked
        else:
            assert not federation.folds, pattern
            assert len(federation.of(FailureRecord)) == 1
    assert min(counted.values()) > 5


@pytest.mark.parametrize("killed", [frozenset({at}) for at in range(5)] + [frozenset(range(5))])
def test_a_hub_that_is_killed_in_a_step_gives_the_same_sum(killed):
    lost = {"a": STEPS.index("Mask")}
    undisturbed, federation = Federation().start(), Federation().start()
    attempt(undisturbed, lost)
    attempt(federation, lost, killed)
    assert federation.epoch > 1
    assert np.array_equal(federation.total(), undisturbed.total())
    assert np.array_equal(federation.total(), plain_sum("bcde"))
    assert federation.folds[-1].terms == undisturbed.folds[-1].terms
    assert federation.state.phase is Phase.FOLDING


def test_an_attempt_below_the_threshold_is_recorded_and_the_next_has_new_keys():
    federation = Federation().start()
    first = federation.state.current.plan
    attempt(federation, {"a": 2, "b": 2})
    (failure,) = federation.of(FailureRecord)
    assert failure.reason == "SecureAggregationFailed"
    assert "3 masked updates are below the 4" in failure.message
    assert "a: it was too late" in failure.message
    assert not federation.of(CloseRecord)
    second = federation.of(PlanRecord)[-1]
    assert (first.attempt, second.attempt) == (1, 2)
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde"))
    used = [state.terms.context() for state in federation.sites.values()]
    assert len(set(used)) == 2
