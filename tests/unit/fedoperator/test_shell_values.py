"""Small pure parts of the shell: settings, routing, stuck pods, refusals, paths of watches, health, log lines."""

import http.client
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from fedapi import names
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.connection import _answer
from fedoperator.decide.decision import Key, Refused
from fedoperator.errors import ForeignError, RefusedError, RetryLaterError, SettingsInvalidError
from fedoperator.handlers.routing import keys_of
from fedoperator.handlers.runtime import streams
from fedoperator.handlers.session import stream_of
from fedoperator.probes import serve, verdict
from fedoperator.refusals import FIRST_RETRY_S, FOREIGN_RETRY_S, FREE_CONTESTS, Refusals
from fedoperator.settings import PREFIX, OperatorSettings
from fedoperator.stuck import stuck_for_s
from fedoperator.watch_health import Stream, WatchHealth

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


# Settings.


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}WATCH_NAMESPACES", "a, b,,c")
    monkeypatch.setenv(f"{PREFIX}AGGREGATOR_IMAGE", "registry.example/agg:1")
    monkeypatch.setenv(f"{PREFIX}LEADER_ELECTION", "false")
    settings = OperatorSettings.from_environment()
    assert settings.watch_namespaces == ("a", "b", "c")
    assert not settings.leader_election
    assert settings.for_decisions().aggregator_image == "registry.example/agg:1"
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 3


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WORKERS", "many", "FEDLOOM_OPERATOR_WORKERS"),
        ("WORKERS", "0", "FEDLOOM_OPERATOR_WORKERS"),
        ("LOG_LEVEL", "LOUD", "FEDLOOM_OPERATOR_LOG_LEVEL"),
        ("LEASE_DURATION_S", "10", "LEASE_RENEW_DEADLINE_S"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch, name, value, told):
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsInvalidError, match=told):
        OperatorSettings.from_environment()


def test_every_setting_says_what_it_is():
    for name, field in OperatorSettings.model_fields.items():
        assert field.description, name
        assert field.default is not None, name


# Routing.


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


# Stuck pods.


def pod(
    *,
    reason="ContainerCreating",
    waited_s=30,
    placed="True",
    phase="Pending",
    sandbox=None,
    deleting=False,
    role="trainer",
):
    conditions = [
        {
            "type": "PodScheduled",
            "status": placed,
            "lastTransitionTime": (NOW - timedelta(seconds=waited_s)).isoformat(),
        }
    ]
    if sandbox:
        conditions.append({"type": "PodReadyToStartContainers", "status": sandbox})
    return {
        "metadata": {"labels": {names.LABEL_ROLE: role}} | ({"deletionTimestamp": NOW.isoformat()} if deleting else {}),
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"state": {"waiting": {"reason": reason}}}],
        },
    }


@pytest.mark.parametrize(
    ("pods", "waited_s"),
    [
        ([], None),
        ([pod()], 30),
        ([pod(waited_s=5), pod(waited_s=40)], 40),
        ([pod(sandbox="False")], 30),
        ([pod(sandbox="True")], None),  # mounted: it pulls its image
        ([pod(reason="CreateContainerConfigError", sandbox="True")], 30),
        ([pod(reason="PodInitializing", role="init")], 30),  # of two containers, one after the other
        ([pod(reason="ImagePullBackOff")], None),
        ([pod(placed="False")], None),
        ([pod(phase="Running")], None),
        ([pod(deleting=True)], None),
        ([pod(role="backup")], None),  # mounts none of the job's Secrets
        ([{"metadata": {}}], None),
    ],
)
def test_a_pod_is_stuck(pods, waited_s):
    assert stuck_for_s(pods, NOW) == waited_s


# Refusals.


def test_a_refusal_is_retried_slowly_and_shown_until_it_is_over():
    clock = Clock()
    refusals, key = Refusals(clock), Key("Deployment", "j-aggregator")
    job = {"kind": "FederatedJob", "metadata": {"uid": "u"}}
    assert refusals.known("u") == ()
    error = RefusedError("spec.replicas: must be small", 422)
    assert [refusals.refused(job, key, error) for _ in range(3)] == [
        FIRST_RETRY_S,
        2 * FIRST_RETRY_S,
        4 * FIRST_RETRY_S,
    ]
    assert refusals.wait_s(job, key) == 4 * FIRST_RETRY_S
    clock.now += 4 * FIRST_RETRY_S
    assert refusals.wait_s(job, key) == 0
    assert refusals.known("u") == (Refused(key, "Deployment j-aggregator was refused: spec.replicas: must be small"),)
    refusals.keep("u", {key})
    assert refusals.known("u")
    refusals.cleared(job, key)
    assert refusals.known("u") == ()


def test_what_is_wanted_no_longer_is_not_refused_any_more():
    refusals, key = Refusals(Clock()), Key("Job", "j-site-a-1")
    refusals.refused({"metadata": {"uid": "u"}}, key, RefusedError("no", 403))
    refusals.keep("u", {Key("Job", "j-site-a-2")})
    assert refusals.known("u") == ()


def test_a_name_of_somebody_else_is_looked_at_again_at_a_steady_pace():
    clock = Clock()
    refusals, key, job = Refusals(clock), Key("Role", "r"), {"metadata": {"uid": "u"}}
    assert [refusals.foreign(job, key, ForeignError("theirs")) for _ in range(9)] == [FOREIGN_RETRY_S] * 9
    assert refusals.known("u") == (Refused(key, "theirs", foreign=True),)
    assert refusals.foreign_name(job, key)


def test_another_controller_is_fought_ever_more_slowly():
    clock = Clock()
    refusals, key, job, pauses = Refusals(clock), Key("Service", "s"), {"metadata": {"uid": "u"}}, []
    for _ in range(20):
        pauses.append(refusals.contest_wait_s(job, key))
        clock.now += pauses[-1]
        refusals.contested(job, key)
    assert pauses[:FREE_CONTESTS] == [0] * FREE_CONTESTS
    assert pauses[FREE_CONTESTS] == FIRST_RETRY_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1800


# Watches.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", Stream("Pod", None)),
        ("/api/v1/namespaces/ns/pods", Stream("Pod", "ns")),
        ("/apis/fedloom.dev/v1alpha1/federatedjobs", Stream("FederatedJob", None)),
        ("/apis/coordination.k8s.io/v1/namespaces/ns/leases", Stream("Lease", "ns")),
        ("/api", None),
        ("/apis", None),
        ("/apis/apps/v1", None),
        ("/api/v1/secrets", None),
    ],
)
def test_a_request_belongs_to_a_watch(path, expected):
    assert stream_of(path) == expected


def test_health_needs_a_sign_of_life_from_every_watch():
    clock = Clock()
    both = streams(("a", "b"))
    health = WatchHealth(both, silence_s=180, clock=clock)
    assert (health.synced(), health.silent(), health.ages_s()) == (False, [], {}), "a standby has no watches"
    health.begin()
    for stream in both:
        health.heard(stream, watching=False)
    assert not health.synced(), "lists are in, watches are not"
    for stream in both:
        health.heard(stream, watching=True)
    assert health.synced()
    clock.now += 200
    for stream in both:
        if stream != Stream("Pod", "b"):
            health.heard(stream, watching=True)
    assert health.silent() == ["Pod"], "one silent namespace is enough"
    assert health.ages_s()["Pod"] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])])
def test_probes_are_answered_on_every_family_that_the_machine_has(host):
    port = serve(0, {"/healthz": lambda: verdict("")})
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/healthz?x")
    assert connection.getresponse().read() == b"ok"
    connection.close()


def test_a_policy_that_has_not_seen_a_new_job_is_no_refusal():
    unseen = "policy 'x' denied request: failed to configure binding: no params found for policy binding with `Deny` …"
    for message, error in ((unseen, RetryLaterError), ("spec.replicas: Invalid value", RefusedError)):
        body = json.dumps({"kind": "Status", "message": message, "reason": "Invalid"}).encode()
        with pytest.raises(error):
            _answer("PATCH /x", 422, body, {})
