"""The chart on a real API server: admitted, installed, upgraded, removed; and what its rights really allow.

The server authorizes by RBAC and enforces the `restricted` pod security standard in the release's namespace.
"""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
import yaml

from fedoperator.desired import access
from fedoperator.desired.identity import Identity
from fedoperator.desired.kinds import CLIENT, JOB, OPTIONAL, WATCHED
from tests.chart.rendering import CHART, NAMESPACE, VALUES, HelmError, pods, template, template_text
from tests.chart.server import HEART, OPERATOR, RELEASE, allowed, apply, established, release
from tests.cluster.errors import ClusterError
from tests.waiting import until

pytestmark = pytest.mark.apiserver


@pytest.mark.parametrize("values", sorted(path.stem for path in VALUES.glob("*.yaml")))
def test_the_api_server_admits_everything_server_side(cluster, values):
    text = template_text("--no-hooks", "--values", VALUES / f"{values}.yaml")
    said = cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", "-o", "name", stdin=text
    )
    assert len(said.split()) == len([each for each in yaml.safe_load_all(text) if each])


def test_pods_are_admitted_where_restricted_is_enforced(cluster, installed):
    for pod in pods(template()):
        named = (
            pod
            | {"apiVersion": "v1", "kind": "Pod"}
            | {"metadata": pod["metadata"] | {"name": "p", "namespace": NAMESPACE}}
        )
        named["spec"]["serviceAccountName"] = "default"
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(named))


def test_notes_are_six_lines(installed):
    assert len(installed.partition("NOTES:\n")[2].strip().splitlines()) == 6


def test_upgrade_changes_the_deployment_and_a_second_one_changes_nothing(cluster, installed):
    def deployment():
        found = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "deployment", "fedloom-operator", "-o", "json"))
        return found["spec"]["replicas"], found["metadata"]["generation"]

    assert deployment() == (1, 1)
    for _ in range(2):
        release(cluster, "upgrade", *RELEASE, "--values", VALUES / "ha.yaml")
        assert deployment() == (2, 2)


def test_uninstalling_keeps_definitions_and_jobs_and_a_new_release_takes_them_over(cluster):
    release(cluster, "install", *RELEASE)
    established(cluster)
    apply(cluster, HEART)
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE)

    def left(kinds, *words):
        label = "app.kubernetes.io/part-of=fedloom"
        return cluster.kubectl("get", kinds, *words, "-o", "name", "-l", label)

    until(lambda: left("all,roles,rolebindings,serviceaccounts,pdb", "-n", NAMESPACE) == "")  # a controller clears up
    assert left("clusterroles,clusterrolebindings") == ""
    release(cluster, "install", *RELEASE)
    assert "heart" in cluster.kubectl("get", "fj", "-n", "hospital-a", "-o", "name")
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE)
    cluster.kubectl("delete", "fj", "heart", "-n", "hospital-a")


# (verb, group/resource, namespace, name) -> allowed to the operator in cluster mode, in namespaced mode
RIGHTS = [
    *[(verb, "fedloom.dev/federatedjobs", "hospital-a", "", True, True) for verb in ("get", "list", "watch", "delete")],
    ("list", "fedloom.dev/federatedjobs", "elsewhere", "", True, False),
    ("list", "fedloom.dev/federatedjobs", "", "", True, False),
    ("create", "fedloom.dev/federatedjobs", "hospital-a", "", False, False),
    ("patch", "fedloom.dev/federatedjobs", "hospital-a", "", False, False),
    ("patch", "fedloom.dev/federatedjobs/status", "hospital-a", "", True, True),
    ("patch", "fedloom.dev/flclients/status", "hospital-a", "", True, True),
    ("update", "fedloom.dev/federatedjobs/finalizers", "hospital-a", "", True, True),
    ("delete", "fedloom.dev/flclients", "hospital-a", "", False, False),
    ("create", "/secrets", "hospital-a", "", True, True),
    ("create", "/secrets", "elsewhere", "", True, False),
    *[(verb, "/secrets", "hospital-a", "any", False, False) for verb in ("get", "list", "watch", "update", "delete")],
    ("patch", "/secrets", "hospital-a", "any", True, True),
    ("patch", "/secrets", "elsewhere", "any", True, False),
    ("list", "/secrets", NAMESPACE, "", False, False),
    ("get", "/secrets", NAMESPACE, "other", False, False),
    ("get", "/secrets", NAMESPACE, "fedloom-operator-keys", True, True),
    ("create", "/secrets", NAMESPACE, "", True, True),
    ("get", "/secrets", "hospital-a", "fedloom-operator-keys", False, False),
    ("create", "coordination.k8s.io/leases", NAMESPACE, "", True, True),
    ("update", "coordination.k8s.io/leases", NAMESPACE, "fedloom-operator", True, True),
    ("update", "coordination.k8s.io/leases", "kube-system", "kube-scheduler", False, False),
    ("patch", "apps/deployments", "hospital-a", "", True, True),
    ("patch", "batch/jobs", "elsewhere", "", True, False),
    ("create", "/pods", "hospital-a", "", False, False),
    ("create", "/pods/exec", "hospital-a", "", False, False),
    ("delete", "coordination.k8s.io/leases", "hospital-a", "", False, False),
    ("create", "/events", "hospital-a", "", False, False),
    ("patch", "/persistentvolumeclaims", "hospital-a", "", True, True),
    ("delete", "/persistentvolumeclaims", "hospital-a", "", False, False),
    ("list", "/nodes", "", "", False, False),
    ("list", "/namespaces", "", "", False, False),
    ("create", "rbac.authorization.k8s.io/clusterroles", "", "", False, False),
    ("bind", "rbac.authorization.k8s.io/roles", "hospital-a", "", False, False),
    ("escalate", "rbac.authorization.k8s.io/roles", "hospital-a", "", False, False),
    ("create", "events.k8s.io/events", "hospital-a", "", True, True),
]


def test_rights_in_cluster_mode(cluster, installed):
    asked = [row[:4] for row in RIGHTS]
    until(lambda: allowed(cluster, OPERATOR, asked) == [row[4] for row in RIGHTS], why=lambda: told(cluster, asked))


def test_rights_in_namespaced_mode(cluster, namespaced):
    asked = [row[:4] for row in RIGHTS]
    until(lambda: allowed(cluster, OPERATOR, asked) == [row[5] for row in RIGHTS], why=lambda: told(cluster, asked))


def told(cluster, asked):
    """Each right and the server's answer."""
    return dict(zip(asked, allowed(cluster, OPERATOR, asked), strict=True))


@pytest.mark.parametrize("mode", ["installed", "namespaced"])
def test_the_operator_may_watch_and_write_every_kind_that_it_deals_with(cluster, mode, request):
    request.getfixturevalue(mode)
    kinds = (*WATCHED, *OPTIONAL)
    written = [kind for kind in kinds if kind not in (JOB, CLIENT) and kind.kind != "Pod"]
    asked = [(verb, kind) for kind in kinds for verb in ("list", "watch")]
    asked += [(verb, kind) for kind in written for verb in ("create", "patch")]
    rows = [(verb, f"{kind.group}/{kind.plural}", "hospital-b", "") for verb, kind in asked]
    until(lambda: all(allowed(cluster, OPERATOR, rows)), why=lambda: told(cluster, rows))


@pytest.mark.parametrize("mode", ["installed", "namespaced"])
def test_the_operator_may_grant_what_aggregators_need_and_no_more(cluster, mode, request):
    request.getfixturevalue(mode)
    apply(cluster, HEART)
    uid = cluster.kubectl("get", "fj", "heart", "-n", "hospital-a", "-o", "jsonpath={.metadata.uid}")
    identity = Identity("hospital-a", "heart", uid)
    children = [
        access.service_account(identity, access.aggregator(identity), {}),
        access.aggregator_role(identity, ["a", "b"]),
        access.role_binding(identity, access.aggregator(identity)),
    ]
    until(lambda: len(apply(cluster, *children, user=OPERATOR)) == 3, not_yet=(ClusterError,))
    greedy = access.aggregator_role(identity, ["a"]) | {
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    }
    with pytest.raises(ClusterError, match="attempting to grant RBAC permissions not currently held"):
        apply(cluster, greedy, flags=("--force-conflicts",), user=OPERATOR)
    cluster.kubectl("delete", "fj", "heart", "-n", "hospital-a")


def test_built_in_roles_reach_the_custom_resources(cluster, installed):
    def can(user, verb):
        return allowed(cluster, user, [(verb, "fedloom.dev/federatedjobs", "hospital-a", "")]) == [True]

    for role in ("view", "edit"):
        cluster.kubectl(
            "create", "rolebinding", f"as-{role}", "-n", "hospital-a", f"--clusterrole={role}", f"--user={role}er"
        )
    until(lambda: can("viewer", "list") and can("editer", "create"))  # a controller joins the roles
    assert not can("viewer", "create")
    assert not can("editer", "escalate")


def test_without_the_right_a_tenant_is_told_to_leave_the_definitions_out(cluster, namespaced):
    with pytest.raises(HelmError, match="customresourcedefinitions"):
        release(
            cluster,
            "upgrade",
            *RELEASE,
            "--values",
            VALUES / "namespaced.yaml",
            "--set",
            "crds.enabled=true",
            user="tenant",
        )


class Answer(BaseHTTPRequestHandler):
    """An operator's probe server that says `status`."""

    def __init__(self, status, *args):
        self.status = status
        super().__init__(*args)

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (200, 0, ["operator ready: 200", "federatedjobs answer: FederatedJobList", "flclients answer: FLClientList"]),
        (503, 1, ["ready : HTTP Error 503: Service Unavailable"]),
    ],
)
def test_the_program_of_helm_test(cluster, installed, tmp_path, status, code, said):
    hooks = [each for each in template("-s", "templates/tests/rbac.yaml") if each["kind"] != "Pod"]
    apply(cluster, *hooks)
    (tmp_path / "token").write_text(cluster.kubectl("create", "token", "fedloom-test", "-n", NAMESPACE).strip())
    (tmp_path / "ca.crt").write_text((cluster.dirs.pki / "ca.crt").read_text())
    server = HTTPServer(("127.0.0.1", 0), partial(Answer, status))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = urlsplit(cluster.server)
    env = os.environ | {
        "ACCOUNT_DIR": str(tmp_path),
        "NAMESPACE": NAMESPACE,
        "READY_URL": f"http://127.0.0.1:{server.server_port}/readyz",
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        "WAIT_S": "0",
        "no_proxy": "*",
    }
    done = subprocess.run(
        [sys.executable, CHART / "files" / "check.py"], env=env, capture_output=True, text=True, check=False
    )
    server.shutdown()
    server.server_close()
    cluster.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(hooks))
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (code, said, "")
