"""`fedloom keys rotate-ca` on a real API server: each step once, in its time, and the operator goes on with what it finds."""

import base64
from datetime import UTC, datetime

import pytest

from fedapi import names
from fedoperator.certificates import LIFETIME
from fedoperator.key_material import FILE_CA_CHANGED, Keys
from tests import commands
from tests.integration.fedoperator.kit import SYSTEM, operator, until
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.apiserver
SECRET = "fedloom-operator-keys"


def rotated(api, namespace, *words):
    where = ("-n", namespace, "--kubeconfig", str(api.cluster.kubeconfig), *(words or ("--lifetime", "24h")))
    return commands.fedloom("keys", "rotate-ca", *where, check=False)


def kept(api, namespace) -> Keys:
    data = api.get("Secret", namespace, SECRET)["data"]
    return Keys.from_files({name: base64.b64decode(value) for name, value in data.items()})


def a_day_passes(api, namespace):
    ago = (datetime.now(UTC) - LIFETIME).isoformat().encode()
    api.patch("Secret", namespace, SECRET, {"data": {FILE_CA_CHANGED: base64.b64encode(ago).decode()}})


def test_three_steps_a_day_apart(api, namespace):
    first = Keys.generated(datetime.now(UTC))
    data = {name: base64.b64encode(content).decode() for name, content in first.files().items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}, "data": data}
    api.connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    for words in ("the next CA is made", "issues certificates from now on", "is trusted no more"):
        done = rotated(api, namespace)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        if "no more" not in words:
            before = kept(api, namespace)
            assert rotated(api, namespace).returncode == 1, "too early"
            assert kept(api, namespace) == before
            a_day_passes(api, namespace)
    last = kept(api, namespace)
    assert last.trusted == last.ca_cert != first.ca_cert
    assert (last.master, last.id) == (first.master, first.id)
    assert set(api.get("Secret", namespace, SECRET)["data"]) == set(first.files()), "the key of the CA before is gone"


def test_what_holds_no_keys_is_left_alone(api, namespace):
    done = rotated(api, namespace)
    assert done.returncode == 1
    assert f"{namespace}/{SECRET}" in done.stderr
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}, "data": {}}
    api.connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    done = rotated(api, namespace)
    assert done.returncode == 1
    assert "is not one of Fedloom's keys" in done.stderr


def test_the_operator_takes_up_the_next_ca(api, namespace, tmp_path):
    with operator(api, tmp_path, RESYNC_S=1) as running:
        running.wait_ready()
        until(running.acting)
        before = until(lambda: api.get("Secret", SYSTEM, SECRET))["data"]
        assert rotated(api, SYSTEM).returncode == 0
        assert running.process.wait(PATIENCE_S) == 1, "Kubernetes starts it again, and then it reads them"
    try:
        with operator(api, tmp_path, RESYNC_S=1) as again:
            again.wait_ready()
            until(again.acting)
            assert kept(api, SYSTEM).next_ca_cert
    finally:
        gone = dict.fromkeys(name for name in api.get("Secret", SYSTEM, SECRET)["data"] if name not in before)
        api.patch("Secret", SYSTEM, SECRET, {"data": before | gone})
    assert names.FILE_CA in before


def test_a_step_waits_as_long_as_certificates_live(api, namespace):
    """The operator's Deployment says it: with less, a certificate of the CA before would outlive the trust in it."""
    made = Keys.generated(datetime.now(UTC))
    data = {name: base64.b64encode(content).decode() for name, content in made.files().items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}, "data": data}
    api.connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    assert (
        'deployments.apps "fedloom-operator" not found'
        in rotated(api, namespace, "--operator", "fedloom-operator").stderr
    )
    labels, week = {"app": "operator"}, str(7 * 24 * 3600)
    container = {
        "name": "operator",
        "image": "i",
        "env": [{"name": "FEDLOOM_OPERATOR_CERTIFICATE_LIFETIME_S", "value": week}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fedloom-operator"}, "spec": spec}
    api.connection.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    assert rotated(api, namespace, "--operator", "fedloom-operator").returncode == 0
    a_day_passes(api, namespace)
    early = rotated(api, namespace, "--operator", "fedloom-operator")
    assert early.returncode == 1
    again = datetime.fromisoformat(early.stdout.strip().rpartition(" ")[2])
    assert again - datetime.now(UTC) > LIFETIME * 5
    assert rotated(api, namespace, "--lifetime", "24h").returncode == 0
