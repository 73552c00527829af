"""SiteStateKept: whether what the job needs at its sites outlives their pods."""

import pytest

from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

VOLUME = {"state": {"persistentVolumeClaim": {"claimName": "kept"}}}
ENTRUSTED = {"entrustedState": {"keySecretRef": {"name": "key"}}}
TYPE = "SiteStateKept"
STEPS = {"localSteps": 5, "optimizer": {"name": "AdamW"}}
DILOCO = {"strategy": {"name": "DiLoCo", "diLoCo": {}}, "training": STEPS}
FRAGMENTS = {"strategy": {"name": "DiLoCo", "diLoCo": {"fragments": 2}}, "training": STEPS}
TOP_K = {"compression": {"codec": "TopK", "topK": {}}}


def decided(spec, clients=s.TWO_SITES, status=None):
    return decide(s.observe(s.job(s.STARTED | (status or {}), **spec), clients=clients), s.NOW)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"strategy": {"name": "SCAFFOLD", "scaffold": {}}}, "(SCAFFOLD's controls)"),
        (DILOCO, "(DiLoCo's moments)"),
        (FRAGMENTS, "(DiLoCo's moments, fragments that wait for their turn)"),
        ({"training": {"localParameters": ["head.*"]}}, "(tensors of training.localParameters)"),
        (TOP_K, "(what compression has not sent yet)"),
    ],
)
def test_sites_without_a_volume_are_named_once(spec, what):
    decision = decided(spec)
    status, reason, message = s.condition(decision, TYPE)
    assert (status, reason) == ("False", "SiteStateAtRisk")
    assert message.startswith(f"berlin, lyon lose what stays at the sites {what} with their pods: give these FLClients")
    assert ("Warning", "SiteStateAtRisk") in [(event.type, event.reason) for event in decision.events]
    again = decided(spec, status={"conditions": decision.status["conditions"]})
    assert not [event for event in again.events if event.reason == "SiteStateAtRisk"]
    kept = decided(spec, (s.site("berlin", **VOLUME), s.site("lyon", **ENTRUSTED)))
    assert s.condition(kept, TYPE)[:2] == ("True", "SiteStateKept")


@pytest.mark.parametrize("spec", [{}, {"compression": {"codec": "Int8"}}, {"compression": {"codec": "None"}}])
def test_nothing_is_said_where_nothing_stays(spec):
    assert TYPE not in {each["type"] for each in decided(spec).status["conditions"]}


def test_what_is_entrusted_now_and_then_is_lost_in_between():
    seldom = ENTRUSTED["entrustedState"] | {"everyRounds": 2}
    clients = s.site("berlin", **VOLUME), s.site("lyon", entrustedState=seldom)
    assert s.condition(decided(DILOCO, clients), TYPE)[2].startswith("lyon lose")


def test_with_pods_of_one_round_it_is_lost_after_each():
    spec = DILOCO | {"training": STEPS | {"lifetime": "Round"}}
    assert "after every round (training.lifetime Round)" in s.condition(decided(spec), TYPE)[2]


def test_a_job_that_has_ended_needs_none():
    ended = decided(DILOCO, status=s.outcome())
    assert s.condition(ended, TYPE)[:2] == ("Unknown", "Finished")


def test_accounts_of_records_are_kept_by_the_sites_own_volumes_alone():
    spec = {"privacy": {"dpSGD": {"maxGradNorm": "1", "noiseMultiplier": "1", "delta": "1e-5"}}}
    clients = s.site("berlin", **VOLUME), s.site("lyon", **ENTRUSTED)
    status, _, message = s.condition(decided(spec, clients), TYPE)
    assert status == "False"
    assert message.startswith("lyon lose what stays at the sites (the accounts of privacy.dpSGD)")
    assert message.endswith("give these FLClients spec.state")
