"""differs: what counts as a difference between a desired and a live object, and what never does."""

import copy
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedapi import names
from fedoperator.decide.job import decide
from fedoperator.desired.difference import differs, quantity
from tests.unit.fedoperator import samples as s

CONTAINER = {
    "name": "trainer",
    "image": "a:1",
    "args": ["train"],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}},
    "volumeMounts": [{"name": "x", "mountPath": "/x", "readOnly": True}],
    "ports": [{"containerPort": 8443, "protocol": "TCP"}],
}
DESIRED = {
    "apiVersion": "v1",
    "kind": "Thing",
    "metadata": {"name": "t", "labels": {"a": "b"}, "ownerReferences": [{"uid": "1", "name": "j"}]},
    "spec": {
        "replicas": 0,
        "containers": [CONTAINER],
        "tmp": {"emptyDir": {}},
        "drop": ["ALL"],
        "tolerations": [],
        "shm": {"emptyDir": {"sizeLimit": "4096Mi"}},
    },
}


def _live(**container: object) -> dict:
    live = copy.deepcopy(DESIRED)
    live["spec"]["containers"][0].update(container)
    return live


def _with(path: str, value: object) -> dict:
    live = copy.deepcopy(DESIRED)
    *parents, last = path.split(".")
    place = live
    for part in parents:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return live


SAME = {
    "itself": DESIRED,
    "from a list: no kind": {k: v for k, v in DESIRED.items() if k in ("metadata", "spec")},
    "server defaults": _live(imagePullPolicy="IfNotPresent", terminationMessagePath="/dev/termination-log"),
    "quantities written otherwise": _live(
        resources={"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"nvidia.com/gpu": 1}}
    ),
    "a volume's size written otherwise": _with("spec.shm.emptyDir.sizeLimit", "4Gi"),
    "more environment from a webhook, another order": _live(
        env=[{"name": "C", "value": "3"}, {"name": "B"}, {"name": "A", "value": "1"}]
    ),
    "a second owner": _with("metadata.ownerReferences", [{"uid": "2"}, {"uid": "1", "name": "j", "controller": True}]),
    "an empty list dropped": _with("spec.tolerations", None),
    "an empty map dropped": _with("spec.tmp", {}),
    "more labels": _with("metadata.labels", {"a": "b", "controller-uid": "x"}),
}
OTHER = {
    "no object": None,
    "image": _live(image="a:2"),
    "a volume's size": _with("spec.shm.emptyDir.sizeLimit", "5Gi"),
    "an argument more": _live(args=["train", "x"]),
    "environment value": _live(env=[{"name": "A", "value": "2"}, {"name": "B", "value": ""}]),
    "environment missing": _live(env=[{"name": "B", "value": ""}]),
    "quantity": _live(resources={"requests": {"cpu": "501m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}),
    "device missing": _live(resources={"requests": {"cpu": "500m", "memory": "1Gi"}}),
    "mount no longer read-only": _live(volumeMounts=[{"name": "x", "mountPath": "/x"}]),
    "another port": _live(ports=[{"containerPort": 8444, "protocol": "TCP"}]),
    "replicas": _with("spec.replicas", 1),
    "label": _with("metadata.labels", {"a": "c"}),
    "owner": _with("metadata.ownerReferences", []),
    "an atomic list": _with("spec.drop", ["ALL", "NET_RAW"]),
    "another type": _with("spec.drop", "ALL"),
    "added to an empty list": _with("spec.tolerations", [{"operator": "Exists"}]),
}


@pytest.mark.parametrize("live", SAME.values(), ids=SAME)
def test_same(live):
    assert not differs(DESIRED, live)


@pytest.mark.parametrize("live", OTHER.values(), ids=OTHER)
def test_different(live):
    assert differs(DESIRED, live)


def _managed(manager: str, operation: str, fields: dict, **more: str) -> dict:
    live = copy.deepcopy(DESIRED)
    live["metadata"]["managedFields"] = [{"manager": manager, "operation": operation, "fieldsV1": fields} | more]
    return live


def _env(name: str) -> dict:
    entry = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:value": {}}}
    return {"f:spec": {"f:containers": {'k:{"name":"trainer"}': {"f:env": entry}}}}


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (_managed(names.OPERATOR_MANAGER, "Apply", _env("A")), False),
        (_managed(names.OPERATOR_MANAGER, "Apply", _env("GONE")), True),
        (_managed(names.OPERATOR_MANAGER, "Apply", {"f:metadata": {"f:labels": {"f:old": {}}}}), True),
        (_managed(names.OPERATOR_MANAGER, "Apply", {"f:spec": {"f:drop": {'v:"ALL"': {}}}}), False),
        (_managed(names.OPERATOR_MANAGER, "Apply", {"f:spec": {"f:drop": {'v:"X"': {}}}}), True),
        (_managed(names.OPERATOR_MANAGER, "Update", _env("GONE")), False),
        (_managed("kubectl", "Apply", _env("GONE")), False),
        (_managed(names.OPERATOR_MANAGER, "Apply", {"f:status": {"f:x": {}}}, subresource="status"), False),
    ],
)
def test_what_we_applied_before_and_no_longer_want(live, expected):
    assert differs(DESIRED, live) is expected


SERVER_DEFAULTS = {
    "metadata": {"uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"clusterIP": "10.0.0.1", "progressDeadlineSeconds": 600, "suspend": True, "volumeName": "pv"},
    "status": {"x": 1},
}
CHILDREN = decide(s.observe(), s.NOW).objects


def test_no_child_of_a_job_differs_from_itself_with_defaults():
    for manifest in CHILDREN:
        live = copy.deepcopy(dict(manifest))
        for part, values in SERVER_DEFAULTS.items():
            live[part] = values | live.get(part, {})
        assert not differs(manifest, live), manifest["kind"]


def _leaves(value: object, path: tuple = ()) -> list[tuple]:
    if isinstance(value, dict) and value:
        return list(itertools.chain.from_iterable(_leaves(v, (*path, k)) for k, v in value.items()))
    if isinstance(value, list) and value:
        return list(itertools.chain.from_iterable(_leaves(v, (*path, i)) for i, v in enumerate(value)))
    return [path] if value not in ({}, [], "", None) else []


@given(st.data())
def test_every_single_leaf_counts(data):
    manifest = data.draw(st.sampled_from(CHILDREN))
    paths = [p for p in _leaves(dict(manifest)) if p[0] not in ("apiVersion", "kind")]
    path = data.draw(st.sampled_from(paths))
    live = copy.deepcopy(dict(manifest))
    place = live
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = "changed by hand"
    assert differs(manifest, live)


@pytest.mark.parametrize(
    ("text", "other"),
    [("500m", "0.5"), ("1Gi", "1024Mi"), ("1k", "1000"), ("1500m", "1.5"), ("1M", "1000k"), ("0", "0m")],
)
def test_quantities(text, other):
    assert quantity(text) == quantity(other)


def test_not_a_quantity():
    with pytest.raises(ValueError):
        quantity("1mm")
