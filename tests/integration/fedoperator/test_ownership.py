"""Whose objects are whose: foreign ones are never touched, ours get back what was taken off and lose what was added."""

import pytest

from fedapi import names
from fedoperator.desired.kinds import BY_KIND
from tests.integration.fedoperator.kit import (
    ago,
    complete,
    consortium,
    kinds,
    operator,
    rest,
    site,
    until,
)

pytestmark = pytest.mark.apiserver

AGGREGATOR = names.aggregator_name("heart")
RBAC = "rbac.authorization.k8s.io"
CONTAINER = {"name": "theirs", "image": "localhost/theirs:1"}
BODIES = {
    "ServiceAccount": {},
    "Role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "RoleBinding": {
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "theirs"},
        "subjects": [{"kind": "ServiceAccount", "name": "theirs", "namespace": "default"}],
    },
    "ConfigMap": {"data": {names.CONFIG_FILE: "theirs"}},
    "Service": {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}},
    "Deployment": {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {"metadata": {"labels": {"app": "theirs"}}, "spec": {"containers": [CONTAINER]}},
        }
    },
}


@pytest.fixture(scope="module")
def running(api, tmp_path_factory):
    with operator(api, tmp_path_factory.mktemp("operator"), RESYNC_S=2) as process:
        yield process.wait_ready()


def condition(api, namespace, type_, name="heart"):
    found = api.get("FederatedJob", namespace, name).get("status", {}).get("conditions", ())
    return next((c for c in found if c["type"] == type_), {})


def theirs(namespace, kind, name=AGGREGATOR, **metadata):
    about = {"name": name, "namespace": namespace} | metadata
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": about} | BODIES[kind]


def essence(body):
    """What the operator must not have changed; controllers write annotations."""
    metadata = {key: body["metadata"].get(key) for key in ("uid", "labels", "ownerReferences", "generation")}
    return metadata | {key: value for key, value in body.items() if key not in ("metadata", "status")}


@pytest.mark.parametrize("labels", [{}, {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_JOB: "heart"}])
@pytest.mark.parametrize("kind", BODIES)
def test_a_foreign_object_with_our_name_is_left_alone_and_told(api, namespace, running, kind, labels):
    before = essence(api.create(theirs(namespace, kind, labels=labels)))
    consortium(api, namespace, "site-a")
    told = until(lambda: condition(api, namespace, "ObjectsApplied"))
    assert (told["status"], told["reason"]) == ("False", "ForeignObject")
    assert f"{kind} {AGGREGATOR} exists already" in told["message"]
    assert until(lambda: condition(api, namespace, "Progressing"))["reason"] == "ForeignObject"
    assert condition(api, namespace, "AggregatorReady")["reason"] == "ForeignObject"
    made = kinds(api.children(namespace, "heart"))
    assert "Job" not in made, "nothing runs beside it"
    assert kind == "Deployment" or "Deployment" not in made
    api.delete("FederatedJob", namespace, "heart")
    until(lambda: not api.children(namespace, "heart").keys() - {(kind, AGGREGATOR)} - {
        key for key in api.children(namespace, "heart") if key[0] == "PersistentVolumeClaim"
    })  # fmt: skip
    assert essence(api.get(kind, namespace, AGGREGATOR)) == before


def test_the_job_goes_on_when_the_name_is_free(api, namespace, running):
    api.create(theirs(namespace, "ServiceAccount"))
    consortium(api, namespace, "site-a")
    until(lambda: condition(api, namespace, "ObjectsApplied"))
    api.delete("ServiceAccount", namespace, AGGREGATOR)
    complete(api, namespace, 1)
    until(lambda: not condition(api, namespace, "ObjectsApplied"))
    rest(api, namespace, running)


def test_a_foreign_object_that_takes_a_name_in_mid_job_stops_the_aggregator(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": True}})
    until(lambda: api.get("Deployment", namespace, AGGREGATOR)["spec"]["replicas"] == 0)

    def replaced():
        api.delete("ServiceAccount", namespace, AGGREGATOR)
        return api.create(theirs(namespace, "ServiceAccount"))  # or the operator was faster: again

    until(replaced)
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": False}})
    until(lambda: condition(api, namespace, "ObjectsApplied").get("reason") == "ForeignObject")
    until(lambda: condition(api, namespace, "Suspended").get("status") == "False")
    assert api.get("Deployment", namespace, AGGREGATOR)["spec"]["replicas"] == 0


def test_a_foreign_lease_with_a_sites_name_is_left_alone_and_told(api, namespace, running):
    name = names.site_lease_name("site-a")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "theirs"}}
    before = essence(api.create(lease | {"metadata": {"name": name, "namespace": namespace}}))
    api.create(site(namespace, "site-a"))

    def told():
        found = api.get("FLClient", namespace, "site-a").get("status", {}).get("conditions", ())
        return any(c["reason"] == "ForeignObject" and name in c["message"] for c in found)

    until(told)
    assert essence(api.get("Lease", namespace, name)) == before


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (names.LABEL_MANAGED_BY, None),
        (names.LABEL_MANAGED_BY, "other"),
        (names.LABEL_JOB, None),
        (names.LABEL_JOB, "other"),
        (names.LABEL_JOB_UID, "other"),
        (names.LABEL_ROLE, None),
    ],
)
def test_a_label_that_is_taken_off_or_changed_comes_back_and_then_all_is_quiet(api, namespace, running, label, value):
    def said():
        return {
            key: (c["metadata"]["uid"], c["metadata"]["labels"], c.get("spec", {}).get("suspend"))
            for key, c in api.children(namespace, "heart").items()
        }

    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    before = said()
    for kind, name in before:
        if kind != "Secret":  # which the operator may not read
            api.patch(kind, namespace, name, {"metadata": {"labels": {label: value}}})
    until(lambda: said() == before)
    rest(api, namespace, running)


EVIL = [{"name": "PYTHONPATH", "value": "/evil"}]


def _deployment(**pod):
    return {"spec": {"template": {"spec": pod}}}


ADDITIONS = {
    "environment": ("Deployment", _deployment(containers=[{"name": "aggregator", "env": EVIL}])),
    "sidecar": ("Deployment", _deployment(containers=[CONTAINER])),
    "init container": ("Deployment", _deployment(initContainers=[CONTAINER | {"name": "before"}])),
    "volume": ("Deployment", _deployment(volumes=[{"name": "theirs", "emptyDir": {}}])),
    "lifecycle hook": (
        "Deployment",
        _deployment(containers=[{"name": "aggregator", "lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}}]),
    ),
    "command": ("Deployment", _deployment(containers=[{"name": "aggregator", "command": ["sh"]}])),
    "pull secret": ("Deployment", _deployment(imagePullSecrets=[{"name": "theirs"}])),
    "host network": ("Deployment", _deployment(hostNetwork=True)),
    "node": ("Deployment", _deployment(nodeSelector={"theirs": "x"})),
    "dns": ("Deployment", _deployment(dnsPolicy="Default")),
    "annotation of pods": (
        "Deployment",
        {"spec": {"template": {"metadata": {"annotations": {"theirs.example/x": "y"}}}}},
    ),
    "label of pods": ("Deployment", {"spec": {"template": {"metadata": {"labels": {"theirs": "x"}}}}}),
    "paused": ("Deployment", {"spec": {"paused": True}}),
    "replicas": ("Deployment", {"spec": {"replicas": 3}}),
    "selector": ("Service", {"spec": {"selector": {"theirs": "x"}}}),
    "port": ("Service", {"spec": {"ports": [{"name": "x", "port": 99, "protocol": "TCP"}]}}),
    "load balancer": ("Service", {"spec": {"type": "LoadBalancer"}}),
    "external address": ("Service", {"spec": {"externalIPs": ["198.51.100.7"]}}),
    "key": ("ConfigMap", {"data": {"theirs": "x"}}),
    "binary key": ("ConfigMap", {"binaryData": {"more": "eA=="}}),
    "account's pull secret": ("ServiceAccount", {"imagePullSecrets": [{"name": "theirs"}]}),
    "account without token": ("ServiceAccount", {"automountServiceAccountToken": False}),
}
STRATEGIC = "application/strategic-merge-patch+json"


def content(body):
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "ServiceAccount"])
def test_what_is_added_by_hand_is_taken_back_and_told(api, namespace, running, kind):
    patches = {what: patch for what, (of, patch) in ADDITIONS.items() if of == kind}
    path = BY_KIND[kind].path(namespace, AGGREGATOR)
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    before = content(api.get(kind, namespace, AGGREGATOR))
    everything = {}
    for what, patch in patches.items():
        query = {"fieldManager": what.split()[0].replace("'", "")}
        changed = api.connection.request("PATCH", path, patch, content_type=STRATEGIC, query=query | {"dryRun": "All"})
        assert content(changed) != before, f"{what} is no addition"
        everything[what] = query
    for what, query in everything.items():
        api.connection.request("PATCH", path, patches[what], content_type=STRATEGIC, query=query)
    until(lambda: content(api.get(kind, namespace, AGGREGATOR)) == before)

    def told():
        seen = api.connection.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
        return " ".join(e["note"] for e in seen if e["reason"] == "TakenBack")

    until(lambda: f"{kind} {AGGREGATOR}: took back" in told())
    rest(api, namespace, running)


@pytest.mark.parametrize("kind", ["Role", "RoleBinding"])
def test_rights_that_are_added_by_hand_are_taken_back(api, namespace, running, kind):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    before = api.get(kind, namespace, AGGREGATOR)
    part = "rules" if kind == "Role" else "subjects"
    more = {part: [*before[part], BODIES[kind][part][0]]}
    api.patch(kind, namespace, AGGREGATOR, more)
    until(lambda: api.get(kind, namespace, AGGREGATOR)[part] == before[part])
    rest(api, namespace, running)


def test_a_rollout_restart_is_not_taken_back(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    patch = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    api.patch("Deployment", namespace, AGGREGATOR, patch)
    rest(api, namespace, running)
    live = api.get("Deployment", namespace, AGGREGATOR)["spec"]["template"]["metadata"]
    assert live["annotations"] == stamp


def test_an_account_that_was_deleted_is_remade_and_so_is_the_pod_whose_token_is_void(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    pods = f"{names.LABEL_ROLE}={names.ROLE_AGGREGATOR}"
    old = until(lambda: api.listed("Pod", namespace, pods))[0]["metadata"]["uid"]
    since = api.get("Deployment", namespace, AGGREGATOR)["metadata"]["creationTimestamp"]
    until(lambda: ago(0) > since)  # creation times have whole seconds
    api.delete("ServiceAccount", namespace, AGGREGATOR)

    def remade():
        for pod in api.listed("Pod", namespace, pods):
            if "deletionTimestamp" in pod["metadata"]:  # there is no kubelet that would end it
                path = BY_KIND["Pod"].path(namespace, pod["metadata"]["name"])
                api.connection.request(
                    "DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
                )
        return [p for p in api.listed("Pod", namespace, pods) if p["metadata"]["uid"] != old]

    new = until(remade)[0]
    account = api.get("ServiceAccount", namespace, AGGREGATOR)["metadata"]["uid"]
    assert new["metadata"]["annotations"][names.ANNOTATION_ACCOUNT] == account
    rest(api, namespace, running)


def test_a_config_map_that_was_frozen_by_hand_is_told_and_made_anew_when_it_goes(api, namespace, running):
    """Nobody can unset `immutable`."""
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    api.patch("ConfigMap", namespace, AGGREGATOR, {"immutable": True})
    told = until(lambda: condition(api, namespace, "ObjectsApplied"))
    assert told["reason"] == "ObjectRefused"
    assert f"ConfigMap {AGGREGATOR} was refused" in told["message"]
    assert "immutable" in told["message"]
    api.delete("ConfigMap", namespace, AGGREGATOR)
    until(lambda: not condition(api, namespace, "ObjectsApplied"))
    rest(api, namespace, running)


def test_an_owner_that_is_taken_off_comes_back(api, namespace, running):
    def said():
        found = api.children(namespace, "heart").items()
        return {key: (c["metadata"]["uid"], c["metadata"].get("ownerReferences")) for key, c in found}

    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    before = said()
    for kind, name in before:
        if kind != "Secret":
            api.patch(kind, namespace, name, {"metadata": {"ownerReferences": None}})
    until(lambda: said() == before)
    rest(api, namespace, running)
