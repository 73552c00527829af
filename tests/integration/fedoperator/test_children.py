"""The operator against a real API server: children, status, rest, repair, suspension, refusals, the end."""

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import (
    CHILDREN,
    ago,
    complete,
    consortium,
    expected_kinds,
    job,
    kinds,
    operator,
    rests,
    site,
    until,
)

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def running(api, tmp_path_factory):
    with operator(api, tmp_path_factory.mktemp("operator"), RESYNC_S=2) as process:
        yield process.wait_ready()


def status(api, namespace, name="heart"):
    return api.get("FederatedJob", namespace, name).get("status", {})


def condition(api, namespace, type_, name="heart"):
    return next((c for c in status(api, namespace, name).get("conditions", ()) if c["type"] == type_), {})


def aggregator_secret(api, namespace, uid):
    """Its name depends on the installation's keys."""
    selector = f"{names.LABEL_ROLE}={names.ROLE_AGGREGATOR},{names.LABEL_JOB_UID}={uid}"
    (found,) = api.listed("Secret", namespace, selector)
    return found


def test_children_and_status_appear(api, namespace, running):
    consortium(api, namespace, "site-a", "site-b")
    children = complete(api, namespace, 2)
    owners = {
        key: [o["kind"] for o in child["metadata"].get("ownerReferences", ())]
        for key, child in children.items()
        if key[0] != "PersistentVolumeClaim"
    }
    assert set(map(tuple, owners.values())) == {("FederatedJob",)}
    suspended = {
        c["metadata"]["labels"][names.LABEL_ROLE]: c["spec"]["suspend"] for (k, _), c in children.items() if k == "Job"
    }
    assert suspended == {"init": True, "trainer": True}, "Jobs wait for the aggregator"
    until(lambda: condition(api, namespace, "Accepted")["status"] == "True")
    until(lambda: api.get("FLClient", namespace, "site-a")["status"]["conditions"])
    until(lambda: api.get("Lease", namespace, names.site_lease_name("site-a")))

    def told():
        seen = api.connection.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
        return {event["reason"] for event in seen if event["reportingController"] == "fedloom.dev/operator"}

    until(lambda: "Accepted" in told())  # events come after the status


def test_a_site_that_joins_and_one_that_leaves(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    api.create(site(namespace, "site-b"))
    complete(api, namespace, 2)
    roster = names.aggregator_name("heart")
    until(lambda: "site-b" in api.get("ConfigMap", namespace, roster)["data"][names.CONFIG_FILE])
    api.delete("FLClient", namespace, "site-b")
    until(lambda: kinds(api.children(namespace, "heart")).get("Job") == 2)


@pytest.mark.parametrize("kind", [kind.kind for kind in CHILDREN if kind.kind != "PersistentVolumeClaim"])
def test_a_child_deleted_by_hand_comes_back(api, namespace, running, kind):
    consortium(api, namespace, "site-a")
    old = {key: child["metadata"]["uid"] for key, child in complete(api, namespace, 1).items() if key[0] == kind}
    for _, name in old:
        api.delete(kind, namespace, name)

    def back():
        new = {key: c["metadata"]["uid"] for key, c in api.children(namespace, "heart").items() if key[0] == kind}
        return set(new) == set(old) and all(new[key] != old[key] for key in old)

    until(back)


def test_a_change_made_by_hand_is_undone(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    name = names.aggregator_name("heart")
    api.patch("ConfigMap", namespace, name, {"data": {names.CONFIG_FILE: "{}"}})
    api.patch("Service", namespace, name, {"spec": {"selector": {"stray": None, names.LABEL_JOB: "other"}}})
    until(lambda: "site-a" in api.get("ConfigMap", namespace, name)["data"][names.CONFIG_FILE])
    until(lambda: api.get("Service", namespace, name)["spec"]["selector"][names.LABEL_JOB] == "heart")


def test_nothing_is_written_at_rest(api, namespace, running):
    half = {"resources": {"limits": {"memory": "8Gi"}}}  # of it is shared memory, which the API server writes otherwise
    consortium(api, namespace, "site-a", "site-b", training=half)
    complete(api, namespace, 2)
    until(lambda: api.get("FLClient", namespace, "site-a")["status"]["conditions"])
    rests(api, running, namespace)
    versions = {key: c["metadata"]["resourceVersion"] for key, c in api.children(namespace, "heart").items()}
    running.looks_again(namespace, 2)
    assert {k: c["metadata"]["resourceVersion"] for k, c in api.children(namespace, "heart").items()} == versions


def test_training_starts_when_the_aggregator_is_ready_and_suspend_frees_everything(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)

    def training():
        jobs = api.listed("Job", namespace, f"{names.LABEL_ROLE}={names.ROLE_TRAINER}")
        return [job["spec"].get("suspend", False) for job in jobs]

    def replicas():
        return api.get("Deployment", namespace, names.aggregator_name("heart"))["spec"]["replicas"]

    init = api.listed("Job", namespace, f"{names.LABEL_ROLE}={names.ROLE_INIT}")[0]["metadata"]["name"]
    done = [
        {"type": type_, "status": "True", "lastTransitionTime": ago(0)} for type_ in ("SuccessCriteriaMet", "Complete")
    ]
    assert api.get("Job", namespace, init)["spec"]["suspend"], "it has nobody to hand its model in to"
    until(lambda: api.pods_ready(namespace, names.ROLE_AGGREGATOR))
    until(lambda: api.get("Job", namespace, init).get("status", {}).get("startTime"))
    assert training() == [True]
    finish = {"conditions": done, "completionTime": ago(0), "succeeded": 1, "active": 0, "ready": 0}
    finish |= {"uncountedTerminatedPods": {}}
    api.patch("Job", namespace, init, {"status": finish}, "status")
    until(lambda: training() == [False])
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": True}})
    until(lambda: training() == [True] and replicas() == 0)
    until(lambda: condition(api, namespace, "Suspended").get("status") == "True")
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": False}})
    until(lambda: replicas() == 1 and condition(api, namespace, "Suspended").get("status") == "False")


def test_an_outcome_ends_the_job_which_expires(api, namespace, running):
    made = consortium(api, namespace, "site-a", ttlSecondsAfterFinished=0)
    complete(api, namespace, 1)
    api.outcome(made, outcome={"result": "Succeeded", "reason": "AllRounds", "message": "done", "time": ago(120)})
    until(lambda: not api.get("FederatedJob", namespace, "heart", missing_ok=True))
    until(lambda: set(kinds(api.children(namespace, "heart"))) == {"PersistentVolumeClaim"})


def test_the_aggregators_half_of_the_status_is_left_alone(api, namespace, running):
    made = consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    api.outcome(made, headlineMetric="accuracy 0.79", participants="1/1")
    api.patch("FederatedJob", namespace, "heart", {"spec": {"rounds": 5}})
    until(lambda: status(api, namespace).get("observedGeneration") == 2)
    assert status(api, namespace)["headlineMetric"] == "accuracy 0.79"


def test_a_job_of_another_controller_is_left_alone(api, namespace, running):
    api.create(site(namespace, "site-a"))
    api.create(job(namespace, "theirs", managedBy="example.com/other"))
    api.create(job(namespace, "ours"))
    until(lambda: status(api, namespace, "ours").get("phase"))
    assert status(api, namespace, "theirs") == {}
    assert api.children(namespace, "theirs") == {}


def test_a_refused_child_becomes_a_condition_and_is_not_hammered(api, namespace, running):
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["deployments"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "spec.replicas: this namespace takes no Deployments"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }
    root = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    api.connection.request("POST", f"{root}ies", policy)
    api.connection.request("POST", f"{root}ybindings", binding)
    probe = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    }

    def denied():
        try:
            api.create(probe)
        except Exception as error:  # noqa: BLE001 - any refusal will do
            return "takes no Deployments" in str(error)
        api.delete("Deployment", namespace, "probe")
        return False

    until(denied)
    consortium(api, namespace, "site-a")
    told = until(lambda: condition(api, namespace, "ObjectsApplied"))
    assert told["reason"] == "ObjectRefused"
    for part in ("Deployment heart-aggregator was refused", "spec.replicas: this namespace takes no Deployments"):
        assert part in told["message"]
    others = {k: n for k, n in expected_kinds(1).items() if k != "Deployment"}
    until(lambda: kinds(api.children(namespace, "heart")) == others)
    running.looks_again(namespace, 4)
    tries = [w for w in api.writes(namespace) if w["objectRef"]["resource"] == "deployments"]
    assert len(tries) < running.looks(namespace), "not with every look"
    api.connection.request("DELETE", f"{root}ybindings/{namespace}")
    api.connection.request("DELETE", f"{root}ies/{namespace}")
    until(lambda: not condition(api, namespace, "ObjectsApplied"))
    until(lambda: kinds(api.children(namespace, "heart")) == expected_kinds(1))


def test_a_secret_deleted_by_hand_comes_back_when_a_pod_waits_for_it(api, namespace, running):
    uid = consortium(api, namespace, "site-a")["metadata"]["uid"]
    complete(api, namespace, 1)
    secret = aggregator_secret(api, namespace, uid)["metadata"]["name"]
    api.delete("Secret", namespace, secret)
    pod = until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_AGGREGATOR}"))[0]
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}, "name": "aggregator", "ready": False}
    waiting |= {"restartCount": 0, "image": "i", "imageID": ""}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(30)}
    told = {"phase": "Pending", "conditions": [placed], "containerStatuses": [waiting]}
    api.patch("Pod", namespace, pod["metadata"]["name"], {"status": told}, "status")
    until(lambda: api.get("Secret", namespace, secret, missing_ok=True))


def test_a_namespace_that_is_deleted_takes_everything_quietly(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    seen = len(running.lines())
    api.connection.request("DELETE", f"/api/v1/namespaces/{namespace}")
    until(lambda: not api.exists(f"/api/v1/namespaces/{namespace}"))
    until(lambda: running.metric("fedloom_operator_queue_depth") == 0)
    loud = [
        line
        for line in running.lines()[seen:]
        if line["level"] in ("WARNING", "ERROR") and namespace in line.get("job", "")
    ]
    assert loud == []


def test_a_recreated_job_gets_children_and_secrets_of_its_own(api, namespace, running):
    first = consortium(api, namespace, "site-a")["metadata"]["uid"]
    complete(api, namespace, 1)
    old = aggregator_secret(api, namespace, first)
    api.delete("FederatedJob", namespace, "heart")
    uid = api.create(job(namespace))["metadata"]["uid"]

    def all_new():
        owned = {k: c for k, c in api.children(namespace, "heart").items() if k[0] != "PersistentVolumeClaim"}
        uids = {c["metadata"]["labels"][names.LABEL_JOB_UID] for c in owned.values()}
        return uids == {uid} and kinds(owned) | {"PersistentVolumeClaim": 1} == expected_kinds(1)

    until(all_new)
    new = aggregator_secret(api, namespace, uid)
    assert new["data"][names.FILE_JOB_KEY] != old["data"][names.FILE_JOB_KEY]
    assert len(api.listed("PersistentVolumeClaim", namespace)) == 2, (
        "the old model is kept, the new job has its own volume"
    )


def test_metrics_and_log_say_what_happened_and_nothing_secret(api, namespace, running):
    consortium(api, namespace, "site-a")
    complete(api, namespace, 1)
    for name in (
        'reconcile_total{result="ok"}',
        "reconcile_seconds_count",
        "queue_depth ",
        'writes_total{kind="Deployment",verb="apply"}',
        "is_leader 1.0",
        'watch_age_seconds{kind="Pod"}',
        'jobs{phase="Pending"}',
    ):
        until(lambda name=name: f"fedloom_operator_{name}" in running.http("/metrics", running.metrics)[1])
    running.looks_again(namespace, 1)
    secrets = api.listed("Secret", namespace) + api.listed("Secret", "fedloom-system")
    log = running.log.read_text()
    assert not [s["metadata"]["name"] for s in secrets if any(value in log for value in s.get("data", {}).values())]
