"""Policy rings: what a ring has beside its Job; and JobSets, which only rings need."""

import json

import pytest

from fedapi import names
from fedoperator.decide.decision import Decision, Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
RING = s.site("berlin", pool={"workers": 4})
LYON = s.TWO_SITES[1]
SLICES = {"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}, "workers": 8}
SERVICE = names.ring_service_name("heart", "berlin")


def _keys(decision: Decision, *kinds: str) -> set[Key]:
    return {s.key(o) for o in decision.objects if o["kind"] in kinds and names.LABEL_CLIENT in o["metadata"]["labels"]}


def test_a_ring_has_its_service_and_its_policy_and_a_single_pod_has_none():
    decision = decide(s.observe(clients=(RING, LYON)), s.NOW)
    assert _keys(decision, "Service", "NetworkPolicy") == {Key("Service", SERVICE), Key("NetworkPolicy", SERVICE)}
    kinds = [o["kind"] for o in decision.objects]
    assert kinds.index("NetworkPolicy") < kinds.index("Job", kinds.index("NetworkPolicy"))


@pytest.mark.parametrize(
    ("clients", "state", "removed"),
    [
        ((RING, LYON), "Idle", False),
        ((LYON,), "Idle", True),  # the site left
        ((s.site("berlin"), LYON), "Idle", True),  # it lost its ring
        ((s.site("berlin"), LYON), "Training", False),  # … and its old Job still works on the round
    ],
)
def test_a_rings_objects_go_with_the_ring(clients, state, removed):
    children = s.live_children(s.observe(clients=(RING, LYON)))
    observed = s.observe(s.job(s.in_round(berlin=state)), clients, children)
    found = {key.kind for key in decide(observed, s.NOW).delete if key.name == SERVICE}
    assert found == ({"Service", "NetworkPolicy"} if removed else set())


def test_a_pool_that_needs_a_jobset_waits_for_one():
    clients = (s.site("berlin", pool=SLICES), LYON)
    without = decide(s.observe(clients=clients), s.NOW)
    assert {o["metadata"]["labels"][names.LABEL_CLIENT] for o in without.objects if o["kind"] == "Job" and names.LABEL_CLIENT in o["metadata"]["labels"]} == {"lyon"}  # fmt: skip
    assert s.site_reasons(without)["berlin"] == Reason.JOBSET_MISSING
    assert "install JobSet" in s.site_messages(without)["berlin"]
    config = next(o for o in without.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    assert json.loads(config)["roster"]["berlin"] == "JobSetMissing"
    assert _keys(without, "Service", "NetworkPolicy") == set()
    alone = decide(s.observe(s.job(s.STARTED | {"model": s.MODEL}), clients[:1]), s.NOW)
    assert s.condition(alone, "Progressing")[:2] == ("False", Reason.TOO_FEW_SITES)
    assert s.condition(alone, "Failed")[0] == "False"
    installed = decide(s.observe(clients=clients, jobset=True), s.NOW)
    assert [key.kind for key in _keys(installed, "JobSet")] == ["JobSet"]
