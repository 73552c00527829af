"""The in-memory API server does with writes what the real one does."""

from datetime import UTC, datetime

import pytest

from fedlocal.cluster import Cluster
from fedlocal.errors import ApiError
from fedoperator.decide.decision import Key

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def changes():
    return []


@pytest.fixture
def cluster(changes):
    return Cluster("default", lambda: changes.append(1), lambda: NOW)


def body(kind="Job", name="a", owner=None, **spec):
    metadata = {"name": name, "labels": {"l": "1"}} | ({"ownerReferences": [{"uid": owner}]} if owner else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


def test_apply_creates_merges_and_drops_what_it_no_longer_holds(cluster, changes):
    key = Key("Job", "a")
    cluster.apply(body(template={"x": 1}, keep={"one": 1, "two": 2}), first=body(template={"x": 1}, suspend=True))
    made = cluster.objects[key]
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    cluster.suspend("a", value=False)
    cluster.apply(body(template={"x": 1}, keep={"one": 1}))
    live = cluster.objects[key]
    assert live["spec"] == {"template": {"x": 1}, "keep": {"one": 1}, "suspend": False}
    assert live["metadata"]["uid"] == made["metadata"]["uid"]
    count, version = len(changes), live["metadata"]["resourceVersion"]
    cluster.apply(body(template={"x": 1}, keep={"one": 1}))
    assert len(changes) == count
    assert cluster.objects[key]["metadata"]["resourceVersion"] == version


def test_a_spec_change_raises_the_generation_and_a_status_change_does_not(cluster):
    key = Key("Deployment", "a")
    cluster.apply(body("Deployment", replicas=1))
    cluster.put_status(key, {"replicas": 1})
    assert cluster.objects[key]["metadata"]["generation"] == 1
    cluster.apply(body("Deployment", replicas=0))
    assert cluster.objects[key]["metadata"]["generation"] == 2
    assert cluster.objects[key]["status"] == {"replicas": 1}


def test_a_job_template_cannot_change(cluster):
    cluster.apply(body(template={"x": 1}))
    with pytest.raises(ApiError, match="immutable"):
        cluster.apply(body(template={"x": 2}))


def test_delete_takes_owned_objects_along_and_leaves_pods_to_the_kubelet(cluster):
    cluster.apply(body("FederatedJob"))
    cluster.apply(body("Job", owner=cluster.objects[Key("FederatedJob", "a")]["metadata"]["uid"], template={}))
    cluster.apply(body("Pod", owner=cluster.objects[Key("Job", "a")]["metadata"]["uid"]))
    cluster.apply(body("PersistentVolumeClaim"))
    cluster.delete(Key("FederatedJob", "a"))
    assert {key.kind for key in cluster.objects} == {"Pod", "PersistentVolumeClaim"}
    assert cluster.objects[Key("Pod", "a")]["metadata"]["deletionTimestamp"]
    cluster.remove(Key("Pod", "a"))
    assert {key.kind for key in cluster.objects} == {"PersistentVolumeClaim"}
