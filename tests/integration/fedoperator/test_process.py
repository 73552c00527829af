"""The operator as a process: who leads, what its probes say, how it ends."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

from fedoperator.desired.kinds import WATCHED
from tests.cluster.api import Cluster
from tests.integration.fedoperator.kit import SYSTEM, complete, consortium, expected_kinds, kinds, operator, until
from tests.integration.fedoperator.proxy import proxy_to
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.apiserver

SILENT = "no sign of life from the watch of " + ", ".join(sorted(kind.kind for kind in WATCHED))
POD_WATCH_AGE = 'fedloom_operator_watch_age_seconds{kind="Pod"}'
# Asked for often, and so long that no stall of a busy machine loses it: losing it ends the process.
ELECTION = {"LEADER_ELECTION": "true", "LEASE_DURATION_S": 600, "LEASE_RENEW_DEADLINE_S": 500, "LEASE_RETRY_S": 1}
# As long as those can wait that need it to run out, or an operator to see that it is another's.
SHORT = {"LEASE_DURATION_S": 40, "LEASE_RENEW_DEADLINE_S": 35}


def test_a_standby_passes_its_probes_and_takes_over_after_a_kill(api, namespace, tmp_path):
    lease = ELECTION | SHORT | {"LEASE_NAME": namespace}
    with operator(api, tmp_path, name="first", **lease) as first:
        first.wait_ready()
        until(first.acting)
        with operator(api, tmp_path, name="second", **lease) as second:
            second.wait_ready()
            assert second.http("/healthz")[0] == 200
            assert not second.acting()
            consortium(api, namespace, "site-a")
            before = complete(api, namespace, 1)
            first.end(signal.SIGKILL)
            until(second.acting)
            api.delete("Service", namespace, "heart-aggregator")
            until(lambda: kinds(api.children(namespace, "heart")) == expected_kinds(1))
            assert set(api.children(namespace, "heart")) == set(before), "no duplicates"


def test_losing_the_lease_ends_the_process(api, namespace, tmp_path):
    lease = ELECTION | SHORT | {"LEASE_NAME": namespace}
    with operator(api, tmp_path, **lease) as process:
        process.wait_ready()
        until(process.acting)
        where = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{lease['LEASE_NAME']}"

        def stolen():
            body = api.connection.request("GET", where)
            body["spec"] |= {"holderIdentity": "thief", "leaseDurationSeconds": 60}
            return api.connection.request("PUT", where, body)

        until(stolen)
        assert process.process.wait(PATIENCE_S) == 1
        assert "the Lease was lost; ending" in process.log.read_text()


def test_sigterm_ends_cleanly_and_gives_the_lease_up(api, namespace, tmp_path):
    lease = ELECTION | {"LEASE_NAME": namespace}
    with operator(api, tmp_path, name="first", **lease) as first:
        first.wait_ready()
        until(first.acting)
        assert first.end() == 0
        assert [line for line in first.lines() if line["level"] in ("WARNING", "ERROR")] == []
        with operator(api, tmp_path, name="second", **lease) as second:
            until(second.acting)  # long before the 600 s are over for which the Lease was taken


def test_sigterm_in_the_middle_of_the_first_lists_ends_as_cleanly(api, namespace, tmp_path):
    metadata = {"name": "long", "labels": {"app.kubernetes.io/managed-by": "fedloom"}}
    noise = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    noise["data"] = {"noise": os.urandom(400_000).hex()}
    api.connection.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", noise)
    with proxied(api, tmp_path) as (proxy, settings):
        proxy.freeze_after(200_000)  # far more than is said before the lists, far less than the long one
        with operator(api, tmp_path, **settings) as process:
            until(lambda: proxy.frozen)
            until(lambda: process.http("/readyz") == (503, "the first lists are not in yet"))
            assert process.end() == 0
            assert [line for line in process.lines() if line["level"] in ("WARNING", "ERROR")] == []


def test_sigterm_ends_a_standby(api, namespace, tmp_path):
    lease = ELECTION | {"LEASE_NAME": namespace}
    with operator(api, tmp_path, name="first", **lease) as first:
        until(first.acting)
        with operator(api, tmp_path, name="second", **lease) as second:
            second.wait_ready()
            assert second.end() == 0


@contextmanager
def proxied(api, folder):
    """A proxy to the API server, and the settings of an operator behind it."""
    config = json.loads(api.cluster.kubeconfig.read_text())
    with proxy_to(api.cluster.server) as proxy:
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        (folder / "kubeconfig").write_text(json.dumps(config))
        yield proxy, {"KUBECONFIG": str(folder / "kubeconfig")}


def test_silent_watches_make_it_unhealthy_until_they_speak_again(api, namespace, tmp_path):
    silence = {"WATCH_SILENCE_S": 15, "WATCH_RECONNECT_S": 2}
    with proxied(api, tmp_path) as (proxy, settings), operator(api, tmp_path, **settings, **silence) as process:
        process.wait_ready()
        for _ in range(2):  # watches that nothing happens in are taken up again, which is life enough
            until(lambda: process.metric(POD_WATCH_AGE) > 1)
            until(lambda: process.metric(POD_WATCH_AGE) < 1)
        assert process.http("/healthz") == (200, "ok")
        proxy.freeze()
        until(lambda: process.http("/healthz") == (503, SILENT))
        assert process.http("/readyz")[0] == 503
        proxy.thaw()
        until(lambda: process.http("/healthz")[0] == 200)
        consortium(api, namespace, "site-a")
        complete(api, namespace, 1)


def test_it_waits_for_the_custom_resources(api, tmp_path):
    cluster = Cluster.up("opbare", api_only=True, fresh=True)
    try:
        settings = {"KUBECONFIG": str(cluster.kubeconfig)}
        with operator(api, tmp_path, **settings) as process:
            until(lambda: any("waiting for the custom resources" in line["message"] for line in process.lines()))
            assert process.http("/healthz")[0] == 200
            assert process.end() == 0
    finally:
        cluster.down()


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({"WORKERS": "none"}, 10, "FEDLOOM_OPERATOR_WORKERS"),
        ({"KUBECONFIG": "/nonexistent"}, 10, "no way to reach a cluster"),
    ],
)
def test_it_says_why_it_cannot_begin(api, tmp_path, settings, code, told):
    with operator(api, tmp_path, **settings) as process:
        assert process.process.wait(PATIENCE_S) == code
        assert told in process.log.read_text()
