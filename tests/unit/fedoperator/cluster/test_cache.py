"""The cache: newer wins, the dead stay dead, missed deletions are found, what nobody reads is dropped."""

import pytest

from fedapi import names
from fedoperator.cluster.cache import Cache, trimmed


def body(version, *, uid="u1", name="x", kind="ConfigMap", labels=None, **more):
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels or {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def test_newer_wins_and_only_a_change_of_meaning_is_news():
    cache = Cache()
    assert cache.put(body(5, data={"a": "1"}))
    assert not cache.put(body(4, data={"a": "0"})), "older"
    assert not cache.put(body(6, data={"a": "1"})), "a resourceVersion alone says nothing"
    assert cache.put(body(10, data={"a": "2"})), "as numbers, not as text"
    assert cache.get("ConfigMap", "ns", "x")["data"] == {"a": "2"}


def test_a_deleted_object_does_not_come_back_but_its_successor_does():
    cache = Cache()
    cache.put(body(5))
    cache.remove(body(7))
    assert not cache.put(body(6)), "a late answer to a write"
    assert cache.get("ConfigMap", "ns", "x") is None
    assert cache.put(body(8, uid="u2"))
    cache.remove(body(9, uid="u1"))
    assert cache.get("ConfigMap", "ns", "x")["metadata"]["uid"] == "u2", "the deletion of its predecessor came late"


def test_an_object_that_only_lost_its_label_comes_back_and_one_that_we_deleted_does_not():
    """A watch with a selector reports both as deleted, the former with the version that it has now."""
    cache = Cache()
    cache.put(body(5))
    cache.remove(body(7))
    assert cache.put(body(7)), "read by name: it is there"
    cache.deleted(body(7))
    assert not cache.put(body(9)), "a late word about it"


def test_a_child_without_labels_is_found_by_its_owner():
    cache = Cache()
    owner = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "name": "j", "uid": "u", "controller": True}
    child = body(1)
    child["metadata"]["ownerReferences"] = [owner]
    cache.put(child)
    assert [o["metadata"]["name"] for o in cache.labelled(names.LABEL_JOB, "ns", "j")] == ["x"]
    cache.put(body(2, labels={names.LABEL_JOB: "k"}))
    assert cache.labelled(names.LABEL_JOB, "ns", "j") == []
    cache.remove(body(3))
    assert cache._by_label == {}


def test_objects_are_found_by_job_and_client_as_their_labels_change():
    cache = Cache()
    cache.put(body(1, labels={names.LABEL_JOB: "j"}))
    cache.put(body(2, name="y", uid="u2", kind="Job", labels={names.LABEL_JOB: "j", names.LABEL_CLIENT: "c"}))
    assert {o["metadata"]["name"] for o in cache.labelled(names.LABEL_JOB, "ns", "j")} == {"x", "y"}
    assert [o["kind"] for o in cache.labelled(names.LABEL_CLIENT, "ns", "c")] == ["Job"]
    assert cache.labelled(names.LABEL_JOB, "elsewhere", "j") == []
    cache.put(body(3, labels={}))
    cache.remove(body(4, name="y", uid="u2", kind="Job"))
    assert cache.labelled(names.LABEL_JOB, "ns", "j") == []
    assert cache._by_label == {}


@pytest.mark.parametrize(("namespace", "swept"), [(None, ["old"]), ("ns", ["old"]), ("other", [])])
def test_a_sweep_finds_what_the_list_did_not_mention(namespace, swept):
    now = [0.0]
    cache = Cache(lambda: now[0])
    cache.put(body(5, name="old", uid="u1"))
    cache.put(body(9, name="listed", uid="u2"))
    now[0] = 10.0
    began = now[0]
    now[0] = 11.0
    cache.put(body(8, name="listed", uid="u2"))  # the list is older than our own write, yet it mentions it
    cache.put(body(12, name="made since", uid="u3"))
    assert [o["metadata"]["name"] for o in cache.sweep("ConfigMap", namespace, began)] == swept
    assert cache.get("ConfigMap", "ns", "listed")["metadata"]["resourceVersion"] == "9"


def test_a_live_object_that_a_slow_list_mentions_after_the_sweep_is_back():
    cache = Cache()
    cache.put(body(5, labels={names.LABEL_JOB: "j"}))
    assert cache.sweep("ConfigMap", None, float("inf"))
    assert cache.get("ConfigMap", "ns", "x") is None
    assert cache.labelled(names.LABEL_JOB, "ns", "j") == []
    assert cache.put(body(5, labels={names.LABEL_JOB: "j"})), "news: whoever looks at it looks again"
    assert [o["metadata"]["uid"] for o in cache.labelled(names.LABEL_JOB, "ns", "j")] == ["u1"]


def test_only_what_is_read_is_kept():
    fields = [
        {"manager": names.OPERATOR_MANAGER, "operation": "Apply", "fieldsV1": {"f:data": {}}},
        {"manager": names.OPERATOR_MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {}},
        {"manager": "kubectl", "operation": "Update", "fieldsV1": {}},
    ]
    pod = body(
        1, kind="Pod", spec={"containers": [{"name": "c"}], "volumes": [{"name": "v"}]}, status={"phase": "Pending"}
    )
    pod["metadata"] |= {
        "managedFields": fields,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
    }
    kept = trimmed(pod)
    assert kept["metadata"]["managedFields"] == fields[:1]
    assert kept["metadata"]["annotations"] == {"a": "b"}
    assert kept["spec"] == {"volumes": [{"name": "v"}]}
    assert kept["status"] == {"phase": "Pending"}
    assert len(pod["metadata"]["managedFields"]) == 3, "the original is left alone"
    service = body(1, kind="Service")
    service["metadata"]["managedFields"] = fields
    assert trimmed(service)["metadata"]["managedFields"] == [fields[0], fields[2]], (
        "who set what in what is wholly ours"
    )
