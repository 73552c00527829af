"""Whom a change of an object concerns."""

import pytest

from fedapi import names
from fedoperator.cluster.cache import Cache
from fedoperator.handlers.routing import keys_of


def thing(kind, name="x", **labels):
    return {"kind": kind, "metadata": {"namespace": "ns", "name": name, "uid": name, "labels": labels}}


def owned(body, kind="FederatedJob", name="j"):
    reference = {"apiVersion": names.API_VERSION, "kind": kind, "name": name, "uid": "u", "controller": True}
    return body | {"metadata": body["metadata"] | {"ownerReferences": [reference]}}


JOB, SITE = {names.LABEL_JOB: "j"}, {names.LABEL_CLIENT: "c"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (thing("FederatedJob", "j1"), {("FederatedJob", "j1")}),
        (thing("FLClient", "c"), {("FLClient", "c"), ("FederatedJob", "j1"), ("FederatedJob", "j2")}),
        (thing("Deployment", **JOB), {("FederatedJob", "j")}),
        (thing("Job", **JOB, **SITE), {("FederatedJob", "j")}),
        (thing("Pod", **JOB, **SITE), {("FederatedJob", "j"), ("FLClient", "c")}),
        (thing("Lease", **SITE), {("FLClient", "c")}),
        (thing("ConfigMap"), set()),
        (owned(thing("Job")), {("FederatedJob", "j")}),
        (owned(thing("Lease"), "FLClient", "c"), {("FLClient", "c")}),
        (owned(thing("Pod", **JOB), "ReplicaSet", "r"), {("FederatedJob", "j")}),
    ],
)
def test_an_event_concerns(body, expected):
    cache = Cache()
    for name in ("j1", "j2"):
        cache.put(thing("FederatedJob", name))
    elsewhere = thing("FederatedJob", "j3")
    elsewhere["metadata"]["namespace"] = "other"
    cache.put(elsewhere)
    assert {(key.kind, key.name) for key in keys_of(body, cache)} == expected
