"""StorageReady: what the aggregator's end, its trouble or its waiting pod says of the bucket."""

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

STORAGE = {"s3": {"bucket": "models", "credentialsSecretRef": {"name": "fedloom-store-a"}}}


def ready(status=None, *, pods=(), children=None, storage=STORAGE):
    job = s.job(s.STARTED | (status or {}), storage=storage)
    decision = decide(s.observe(job, pods=pods, children=children or {}), s.NOW)
    return s.condition(decision, "StorageReady"), decision


def test_it_is_true_while_the_aggregator_serves():
    children = s.live_children(s.observe(s.job(storage=STORAGE)))
    found, decision = ready(s.in_round(), children=children)
    assert found[:2] == ("True", "Ready")
    assert "s3://models" in found[2]
    assert not [o for o in decision.objects if o["kind"] == "PersistentVolumeClaim"]
    assert "volumeClaim" not in decision.status["children"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(Exit.STORE_UNFIT, "StoreUnfit"), (Exit.STORE_DENIED, "StoreDenied"), (Exit.STORE_FAILED, "StoreFailed")],
)
def test_why_the_aggregator_ended_is_the_reason(code, reason):
    pod = s.ended(names.ROLE_AGGREGATOR, "", "", code, "s3://models: it is in us-east-1, not in storage.residency")
    found, decision = ready(pods=(pod,))
    assert found == ("False", reason, "s3://models: it is in us-east-1, not in storage.residency")
    assert [event.reason for event in decision.events if event.type == "Warning"] == ["StorageTrouble"]
    assert s.condition(decision, "Progressing")[:2] == ("False", reason)


def test_trouble_of_a_running_aggregator_is_told():
    running = s.running(names.ROLE_AGGREGATOR)
    found, _ = ready(s.in_round() | {"trouble": "access to the bucket was revoked"}, pods=(running,))
    assert found == ("False", "StoreFailing", "access to the bucket was revoked")


def test_a_secret_that_is_not_there_is_named_with_its_field():
    pod = s.waiting(names.ROLE_AGGREGATOR, "", "", "ContainerCreating", created_s_ago=120)
    found, _ = ready(pods=(pod,))
    assert found[:2] == ("False", "CredentialsMissing")
    assert "Secret fedloom-store-a (spec.storage.s3.credentialsSecretRef)" in found[2]


@pytest.mark.parametrize("storage", [STORAGE, {"gcs": {"bucket": "models"}}])
def test_before_anything_is_known_nothing_is_said(storage):
    young = s.waiting(names.ROLE_AGGREGATOR, "", "", "ContainerCreating", created_s_ago=5)
    assert ready(pods=(young,), storage=storage)[0][:2] == ("Unknown", "Starting")


def test_a_volume_has_no_such_condition():
    conditions = decide(s.observe(s.job(s.in_round())), s.NOW).status["conditions"]
    assert "StorageReady" not in {c["type"] for c in conditions}
