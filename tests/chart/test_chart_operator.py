"""The real operator with the environment and the rights that the chart gives it, on a real API server.

It runs as a process of this machine with a token of the chart's ServiceAccount, authenticated as in a pod.
There are no nodes: what is shown is that every call it makes is allowed, and what it makes.
"""

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from fedapi import names
from tests.chart.rendering import NAMESPACE, ROOT, environment, of_values
from tests.chart.server import HEART, apply
from tests.integration.fedoperator.kit import whole_lines
from tests.ports import free_port
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.apiserver

SITE = {
    "apiVersion": names.API_VERSION,
    "kind": names.CLIENT_KIND,
    "metadata": {"name": "ward", "namespace": "hospital-a"},
    "spec": {"provider": "OnPremises"},
}


@contextmanager
def operator(cluster, values, folder):
    """The operator's process; its log is in folder/log. Yields the URL of its probes."""
    account = "fedloom-operator"
    (folder / "token").write_text(cluster.kubectl("create", "token", account, "-n", NAMESPACE).strip())
    (folder / "ca.crt").write_text((cluster.dirs.pki / "ca.crt").read_text())
    address, port = urlsplit(cluster.server), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FEDLOOM_"))}
    env |= environment(of_values(values)) | {
        "FEDLOOM_OPERATOR_NAMESPACE": NAMESPACE,
        "FEDLOOM_OPERATOR_POD_NAME": "test",
        "FEDLOOM_OPERATOR_PROBE_PORT": str(port),
        "FEDLOOM_OPERATOR_METRICS_PORT": str(free_port()),
        "FEDLOOM_OPERATOR_SERVICE_ACCOUNT_DIR": str(folder),
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT / "trainer")]),
        "no_proxy": "*",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "fedoperator"], env=env, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, (folder / "log").read_text()
        finally:
            process.kill()
            process.wait()


def ready(url):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=PATIENCE_S) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(("mode", "values"), [("installed", "default"), ("namespaced", "namespaced")])
def test_the_operator_does_its_work_with_the_rights_of_the_chart(cluster, mode, values, request, tmp_path):
    request.getfixturevalue(mode)
    log = tmp_path / "log"
    with operator(cluster, values, tmp_path) as url:
        until(lambda: ready(url), why=log.read_text)
        apply(cluster, SITE, HEART)
        uid = cluster.kubectl("get", "fj", "heart", "-n", "hospital-a", "-o", "jsonpath={.metadata.uid}")
        ours = f"{names.LABEL_JOB_UID}={uid}"  # children of the job of another run may still be there

        def made():
            kinds = "deploy,svc,sa,role,rolebinding,cm,secret,pvc,job,netpol"
            words = ("get", kinds, "-n", "hospital-a", "-o", "name", "-l", ours)
            return {each.partition("/")[0].partition(".")[0] for each in cluster.kubectl(*words).split()}

        children = {
            "deployment", "service", "serviceaccount", "role", "rolebinding", "configmap", "secret",
            "persistentvolumeclaim", "job", "networkpolicy",
        }  # fmt: skip
        until(lambda: made() == children, why=log.read_text)
        lease = ("get", "lease", names.site_lease_name("ward"), "-n", "hospital-a", "--ignore-not-found", "-o", "name")
        until(lambda: cluster.kubectl(*lease), why=log.read_text)
        cluster.kubectl("delete", "configmap", "-n", "hospital-a", "-l", ours)
        until(lambda: made() == children, why=log.read_text)
        for kind, name in (("fj", "heart"), ("flc", "ward")):
            conditions = ("get", kind, name, "-n", "hospital-a", "-o", "jsonpath={.status.conditions[*].type}")
            until(lambda asked=conditions: cluster.kubectl(*asked), why=log.read_text)
        told = ("get", "events", "-n", "hospital-a", "-o", "jsonpath={.items[*].involvedObject.uid}")
        until(lambda: uid in cluster.kubectl(*told), why=log.read_text)
        image = "jsonpath={.items[*].spec.template.spec.containers[*].image}"
        assert (
            cluster.kubectl("get", "deploy", "-n", "hospital-a", "-l", ours, "-o", image) == "fedloom/aggregator:0.1.0"
        )
        assert "fedloom-operator-keys" in cluster.kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name")
        # an expired job deletes itself: the one custom resource that the operator deletes
        cluster.kubectl(
            "patch", "fj", "heart", "-n", "hospital-a", "--type=merge",
            "-p", json.dumps({"spec": {"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0}}),
        )  # fmt: skip
        until(lambda: cluster.kubectl("get", "fj", "-n", "hospital-a", "-o", "name") == "", why=log.read_text)
        cluster.kubectl("delete", "flc", "ward", "-n", "hospital-a")
    cluster.kubectl("delete", "pvc", "--all", "-n", "hospital-a", "--wait=false")
    assert "forbidden" not in log.read_text().lower()
    refused = [
        entry["requestURI"]
        for entry in map(json.loads, whole_lines(cluster.audit_log))
        if entry["user"]["username"].endswith(":fedloom-operator") and entry["responseStatus"]["code"] == 403
    ]
    assert refused == []
