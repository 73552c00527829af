"""Rounds in groups through the real machine: one that falls, kills of the hub, and what the commit says."""

import numpy as np
import pytest

from fedaggregator.anomalystatus import anomalies as told
from fedapi.wire.anomalies import Anomaly, AnomalySettings, Fact
from fedapi.wire.commit import CommitRecord
from fedapi.wire.secagg import Groups
from fedcore.anomalies.record import Judged
from fedcore.rounds import secure
from fedcore.rounds.events import Folded
from fedcore.secagg import agreement, hub, masking
from fedcore.secagg.hub import HubState
from tests.unit.fedcore.rounds.masked_round import ITEMS, STEPS, Federation, attempt, config, plain_sum, ref, settings

NAMES = tuple(f"s{number:02}" for number in range(12))


def federation(**more) -> Federation:
    asked = settings(colluding=0, groups=Groups(size=3, minimum=3))
    return Federation(config(NAMES, secure=asked, quorum="60%", **more)).start()


def groups_of_first() -> list[tuple[str, ...]]:
    """Keys come of fixed seeds, so that groups are the same in each federation of these tests."""
    made = federation()
    for name in NAMES:
        made.go_on(name)
    state = made.state.current.secure.hub
    return [tuple(sorted(ring.ring)) for ring in agreement.view(state.terms, state.participants).rings]


def totals(made: Federation) -> dict[tuple[str, ...], np.ndarray]:
    order, found = made.folds[-1], {}
    state = HubState.stored(order.secure.sealed().canonical())
    sent = {term.client: term.payloads["update"].object.sha256 for term in order.terms}
    for sites in hub.summed(state).values():
        found[sites] = np.zeros(ITEMS, np.uint32)
        for name in sites:
            masking.add(found[sites], made.uploads[sent[name]])
        masking.apply(found[sites], hub.masks(state, sites))
    assert set(sent) == {name for sites in found for name in sites}
    return found


def assert_sums_of(made: Federation, groups: list[tuple[str, ...]]) -> None:
    found = totals(made)
    assert sorted(found) == sorted(groups)
    for sites, total in found.items():
        assert np.array_equal(total, plain_sum(sites))


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize("killed", [frozenset(), frozenset(range(5))])
def test_a_group_that_falls_is_in_no_model_and_the_others_are(step, killed):
    fallen, *others = groups_of_first()
    made = federation()
    attempt(made, dict.fromkeys(fallen[:2], STEPS.index(step)), killed)
    assert_sums_of(made, others)
    commit = made.commit()
    assert [each.client for each in commit.participants] == sorted(name for sites in others for name in sites)
    assert sorted(each.sites for each in commit.groups) == sorted(others)
    assert set(fallen) <= set(commit.missed)


def test_without_groups_enough_the_attempt_fails_and_the_next_has_other_groups():
    first, second, *_ = groups_of_first()
    made = federation()
    attempt(made, dict.fromkeys((*first[:2], *second[:2]), STEPS.index("Mask")))
    assert made.state.attempt == 2
    assert made.state.current.plan.attempt == 2
    assert "6 masked updates are below the 8" in made.state.void[-1].message
    attempt(made, {})
    assert len(totals(made)) == 4
    assert sorted(totals(made)) != sorted(groups_of_first())


def test_who_is_left_of_a_fallen_group_is_told_that_it_is_over():
    fallen, *_ = groups_of_first()
    made = federation()
    for name in NAMES:
        made.go_on(name)
    for name in NAMES:
        if name not in fallen[:2]:
            made.go_on(name)
    made.close_step()
    assert made.answer(fallen[2]).step == "Over"
    assert made.state.current.failed[fallen[2]] == secure.GROUP_FELL


def test_a_group_with_an_anomalous_mean_is_left_out_and_each_of_its_sites_is_told():
    out, *others = groups_of_first()
    made = federation(anomalies=AnomalySettings(action="Exclude"))
    attempt(made, {})
    fact = Fact(kind="NormAboveOthers", value=50.0, limit=10.0)
    anomaly = Anomaly(client="group 0", sites=out, attempt=1, action="Exclude", norm=9.0, facts=(fact,))
    made.do(Folded(made.now, 1, 1, ref("model 1"), judged=Judged({"group 0": 9.0, "group 1": 0.5}, (anomaly,))))
    commit = made.of(CommitRecord)[-1]
    assert [each.client for each in commit.participants] == sorted(name for sites in others for name in sites)
    assert sorted(each.sites for each in commit.groups) == sorted(others)
    assert [each.norm for each in commit.groups if each.number == 1] == [0.5]
    status = told(made.state)
    assert [each.client for each in status.recent] == list(out)
    assert all("the mean of its group in round 1 is anomalous" in made.state.site(name).message for name in out)
    assert made.state.roster.eligible.issuperset(out), "nobody is suspended"
