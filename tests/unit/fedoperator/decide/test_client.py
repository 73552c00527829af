"""FLClient: readiness, heartbeat and data."""

from datetime import timedelta

import pytest

from fedapi import names
from fedapi.crd.flclient import Capability, Pool
from fedapi.outcome import Exit
from fedoperator.decide.client import accelerators, decide_client
from fedoperator.decide.decision import Decision, Key, ObservedClient, Refused, Registered
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
RUNS = (s.running(names.ROLE_TRAINER, "J", "berlin"),)


def _lease(renewed_s_ago: float | None) -> s.Json:
    return {"spec": {"renewTime": s.ago(renewed_s_ago)} if renewed_s_ago is not None else {}}


@pytest.mark.parametrize(
    ("lease", "active", "connected", "requeue"),
    [
        (None, False, ("Unknown", "NeverHeard"), None),
        (_lease(None), False, ("Unknown", "NeverHeard"), None),
        (_lease(20), True, ("True", "Heartbeat"), 280.0),
        (_lease(300), False, ("False", "HeartbeatLost"), 86100.0),
        (_lease(86400), False, ("False", "Expired"), None),
    ],
)
def test_active_by_the_age_of_the_lease(lease, active, connected, requeue):
    decision = decide_client(ObservedClient(s.site("berlin"), lease, RUNS), s.NOW)
    assert decision.status["active"] is active
    assert s.condition(decision, "Connected")[:2] == connected
    assert decision.requeue_after == requeue


def test_a_site_without_the_key_that_it_has_to_enroll_is_not_ready():
    token = {"publicKey": "A" * 43 + "=", "notAfter": "2027-01-01T00:00:00Z", "caFingerprints": ["0" * 64]}
    for enrollment, words in (
        ({}, "`fedloom site enroll berlin`"),
        ({"joinToken": token}, "until 2027-01-01T00:00:00Z"),
    ):
        decision = decide_client(ObservedClient(s.site("berlin", enrollment=enrollment), None), s.NOW)
        status, reason, message = s.condition(decision, "Ready")
        assert (status, reason) == ("False", "NotEnrolled")
        assert words in message
    enrolled = s.site("berlin", enrollment={}, identity={"keys": [{"publicKey": "A" * 43 + "="}]})
    assert s.condition(decide_client(ObservedClient(enrolled, None), s.NOW), "Ready")[0] == "True"


@pytest.mark.parametrize(
    ("pool", "shown"),
    [
        ({}, "CPU"),
        ({"workers": 2, "slotsPerWorker": 4}, "CPU x2"),
        ({"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 8}, "nvidia.com/gpu x8"),
        ({"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 8, "workers": 4}, "nvidia.com/gpu 4x8"),
        ({"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}}, "tpu-v5-lite-podslice 4x4"),
        ({"accelerator": "TPU", "tpu": {"type": "tpu7x", "topology": "2x2x1"}, "workers": 3}, "tpu7x 2x2x1 x3"),
    ],
)  # fmt: skip
def test_accelerators(pool, shown):
    assert accelerators(Pool.model_validate(pool)) == shown


def test_status_is_decided_on_transitions_only():
    first = decide_client(ObservedClient(s.site("berlin"), _lease(20)), s.NOW)
    same = s.site("berlin", status=dict(first.status))
    again = decide_client(ObservedClient(same, _lease(10)), s.NOW + timedelta(seconds=20))
    assert again.status is None
    lost = decide_client(ObservedClient(same, _lease(20)), s.NOW + timedelta(seconds=280))
    assert s.condition(lost, "Connected")[:2] == ("Unknown", "NoTrainer")
    expired = decide_client(ObservedClient(same, _lease(20)), s.NOW + timedelta(hours=24))
    assert s.condition(expired, "Connected")[:2] == ("Unknown", "Expired"), "nobody is to be heard from there"


SAID = Capability(cpu="16", memory="64Gi", accelerator="nvidia.com/gpu x4")


def registered(seconds_ago):
    return Registered(s.NOW - timedelta(seconds=seconds_ago), SAID)


@pytest.mark.parametrize(
    ("lease", "seen", "active", "connected"),
    [
        (None, registered(20), True, ("True", "Heartbeat")),
        (_lease(400), registered(20), True, ("True", "Heartbeat")),
        (_lease(20), registered(400), True, ("True", "Heartbeat")),
        (_lease(400), registered(500), False, ("False", "HeartbeatLost")),  # it should be there, pod or not
        (None, registered(24 * 3600), False, ("False", "Expired")),
    ],
)
def test_a_site_is_heard_by_whichever_registry_heard_it_last(lease, seen, active, connected):
    decision = decide_client(ObservedClient(s.site("berlin"), lease, registered=seen), s.NOW)
    assert decision.status["active"] is active
    assert s.condition(decision, "Connected")[:2] == connected
    assert decision.status["capability"] == {"cpu": "16", "memory": "64Gi", "accelerator": "nvidia.com/gpu x4"}


def test_a_heartbeat_is_no_transition_and_another_capability_is():
    first = decide_client(ObservedClient(s.site("berlin"), None, registered=registered(20)), s.NOW)
    same = s.site("berlin", status=dict(first.status))
    assert decide_client(ObservedClient(same, None, registered=registered(10)), s.NOW).status is None
    other = Registered(s.NOW, Capability(cpu="32"))
    assert decide_client(ObservedClient(same, None, registered=other), s.NOW).status["capability"] == {"cpu": "32"}


def test_what_the_registry_has_forgotten_stays_expired():
    first = decide_client(ObservedClient(s.site("berlin"), None, registered=registered(24 * 3600)), s.NOW)
    forgotten = s.site("berlin", status=dict(first.status))
    assert decide_client(ObservedClient(forgotten, None), s.NOW).status is None


@pytest.mark.parametrize("seen", [None, registered(400), registered(24 * 3600)])
def test_nobody_is_called_silent_while_the_registry_is_away(seen):
    first = decide_client(ObservedClient(s.site("berlin"), None, registered=registered(20)), s.NOW)
    active = s.site("berlin", status=dict(first.status))
    away = ObservedClient(active, None, registered=seen, registry_away=True)
    assert decide_client(away, s.NOW).status is None
    local = s.site("lyon", status=dict(decide_client(ObservedClient(s.site("lyon"), _lease(20)), s.NOW).status))
    silent = decide_client(ObservedClient(local, _lease(400), RUNS, registry_away=True), s.NOW)
    assert s.condition(silent, "Connected")[:2] == ("False", "HeartbeatLost"), "the registry has no say about it"


def test_a_paused_site_is_not_ready_and_an_unreadable_one_says_why():
    paused = decide_client(ObservedClient(s.site("berlin", paused=True), None), s.NOW)
    assert s.condition(paused, "Ready")[:2] == ("False", "Paused")
    broken = decide_client(ObservedClient(s.site("berlin"), None, invalid="spec.pool: no"), s.NOW)
    assert s.condition(broken, "Ready") == ("False", "InvalidSpec", "spec.pool: no")
    assert broken.objects == ()


def test_a_deleted_site_is_left_alone():
    gone = s.site("berlin")
    gone = gone.model_copy(update={"metadata": gone.metadata.model_copy(update={"deletion_timestamp": s.ago(1)})})
    assert decide_client(ObservedClient(gone, None), s.NOW) == Decision()


MISSING = s.ended(TRAINER, "j", "berlin", Exit.DATA_MISSING, "no file train.csv", at=100, created_s_ago=200)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((), ("Unknown", "NotTried")),
        ((MISSING,), ("False", "DataMissing")),
        ((s.ended(TRAINER, "j", "berlin", 0),), ("True", "DataFound")),
        ((s.ended(TRAINER, "j", "berlin", Exit.TASK_IMPORT),), ("Unknown", "NotTried")),
        ((MISSING, s.running(TRAINER, "j", "berlin", name="new", created_s_ago=50)), ("True", "DataFound")),
        ((MISSING, s.waiting(TRAINER, "j", "berlin", "ContainerCreating", created_s_ago=50)), ("False", "DataMissing")),
    ],
)
def test_data_available_follows_the_newest_pod_that_looked(pods, expected):
    decision = decide_client(ObservedClient(s.site("berlin"), None, pods=pods), s.NOW)
    assert s.condition(decision, "DataAvailable")[:2] == expected
    assert s.condition(decision, "Ready")[0] == "True"  # or the repaired site could never run again


def test_a_trainer_tells_about_data_only_when_it_has_lived_a_while():
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": s.ago(10)}
    young = s.pod(TRAINER, "j", "berlin", conditions=(ready,))
    decision = decide_client(ObservedClient(s.site("berlin"), None, pods=(young,)), s.NOW)
    assert s.condition(decision, "DataAvailable")[0] == "Unknown"
    assert decision.requeue_after == 20.0


def test_missing_data_is_unknown_again_when_the_site_changes():
    def again(status: s.Json, generation: int, pods: tuple[s.Json, ...], later: float = 0) -> Decision:
        client = s.site("berlin", status=status)
        client = client.model_copy(update={"metadata": client.metadata.model_copy(update={"generation": generation})})
        return decide_client(ObservedClient(client, None, pods=pods), s.NOW + timedelta(seconds=later))

    missing = again({}, 1, (MISSING,))
    changed = again(dict(missing.status), 2, (MISSING,))
    assert s.condition(changed, "DataAvailable")[:2] == ("Unknown", "SpecChanged")
    assert again(dict(changed.status), 2, (MISSING,), later=60).status is None
    newer = s.ended(TRAINER, "j2", "berlin", Exit.DATA_MISSING, "still none", at=-5, created_s_ago=0, name="new")
    assert s.condition(again(dict(changed.status), 2, (MISSING, newer), later=60), "DataAvailable")[0] == "False"
    gone = again(dict(missing.status), 1, ())
    assert gone.status is None  # what a pod told stays known when the pod is gone


def test_a_foreign_lease_is_told_and_no_aggregator_gets_a_right_to_it():
    key = Key("Lease", "fedloom-site-berlin")
    refused = (Refused(key, "Lease fedloom-site-berlin exists already", foreign=True),)
    status = decide_client(ObservedClient(s.site("berlin"), None, refused=refused), s.NOW).status
    told = next(c for c in status["conditions"] if c["type"] == "Connected")
    assert (told["status"], told["reason"], told["message"]) == ("Unknown", "ForeignObject", refused[0].message)
    decision = decide(s.observe(clients=(s.site("berlin", status=dict(status)), s.site("lyon"))), s.NOW)
    role = next(o for o in decision.objects if o["kind"] == "Role")
    assert role["rules"][-1]["resourceNames"] == ["fedloom-site-lyon"]
