"""The Kubernetes status adapter against a real API server: one writer per leaf, the uid guard, Leases, errors."""

import json

import pytest
from kubernetes import client, config

from fedaggregator.adapters.kubernetes import KubernetesStatus
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.status import status
from fedapi import names
from fedcore.rounds import machine
from tests.cluster.errors import ClusterError
from tests.unit.aggregator import test_round_rules as rules
from tests.waiting import until

pytestmark = pytest.mark.apiserver
JOB = {
    "apiVersion": names.API_VERSION,
    "kind": names.JOB_KIND,
    "metadata": {"name": "heart"},
    "spec": {"task": {"entrypoint": "task:make", "image": "example/task:1"}, "rounds": 2},
}


@pytest.fixture(scope="module")
def cluster():
    from pathlib import Path

    from tests.cluster.api import Cluster

    found = Cluster.up("aggregator", api_only=True, fresh=True)
    found.kubectl("apply", "-f", str(Path(__file__).parents[3] / "crds"))
    found.kubectl("wait", "--for=condition=Established", "crd/federatedjobs.fedloom.dev", "--timeout=120s")
    until(lambda: found.kubectl("get", "federatedjobs", "-o", "json"), not_yet=(ClusterError,))
    yield found
    found.down()


@pytest.fixture
def job(cluster):
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(JOB))
    yield shown(cluster)
    cluster.kubectl("delete", "federatedjob", "heart", "--ignore-not-found")


@pytest.fixture
def api(cluster):
    loaded = client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=loaded)
    with client.ApiClient(loaded) as made:
        yield made


def shown(cluster) -> dict:
    return json.loads(cluster.kubectl("get", "federatedjob", "heart", "-o", "json", "--show-managed-fields"))


def finished_state():
    state = rules.collecting(rounds=1)
    for site in "ab":
        state, _ = rules.evaluated(state, site, 0, rules.A, 0.25)
        state, _ = rules.accept(state, site)
    state, _ = machine.step(state, rules.Folded(40.0, 1, 1, rules.ref(rules.B)))
    for site in "ab":
        state, _ = rules.evaluated(state, site, 1, rules.B, 0.79)
    return state


def test_every_status_is_taken_and_leaves_of_others_stay(cluster, job, api):
    cluster.kubectl(
        "patch",
        "federatedjob",
        "heart",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status": {"phase": "Running"}}',
    )
    sink = KubernetesStatus("default", "heart", job["metadata"]["uid"], api)
    for state in (rules.State(rules.config(), epoch=1), rules.collecting(), finished_state()):
        sink.publish(status(state))
    now = shown(cluster)
    assert now["status"]["phase"] == "Running"
    assert now["status"]["headlineMetric"] == "accuracy 0.79"
    assert now["status"]["outcome"]["result"] == "Succeeded"
    assert "startTime" not in now["status"]["round"]  # what is no longer said is gone
    managers = [m["manager"] for m in now["metadata"]["managedFields"] if m.get("subresource") == "status"]
    assert names.AGGREGATOR_MANAGER in managers
    version = now["metadata"]["resourceVersion"]
    sink.publish(status(finished_state()))
    assert shown(cluster)["metadata"]["resourceVersion"] == version


def test_a_recreated_job_is_not_written_by_its_predecessor(cluster, job, api):
    old = KubernetesStatus("default", "heart", job["metadata"]["uid"], api)
    old.publish(status(rules.State(rules.config(), epoch=1)))  # it knows a version of the old object
    cluster.kubectl("delete", "federatedjob", "heart")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(JOB))
    with pytest.raises(StatusUnavailableError, match="recreated"):
        old.publish(status(rules.collecting()))
    assert "status" not in shown(cluster)


def test_a_deleted_job_is_not_made_anew(cluster, job, api):
    cluster.kubectl("delete", "federatedjob", "heart")
    with pytest.raises(StatusUnavailableError, match="404"):
        KubernetesStatus("default", "heart", job["metadata"]["uid"], api).publish(status(rules.collecting()))
    assert cluster.kubectl("get", "federatedjob", "-o", "name") == ""


def test_leases_are_renewed(cluster, job, api):
    sink = KubernetesStatus("default", "heart", job["metadata"]["uid"], api)
    times = []
    for _ in range(2):
        sink.heard("clinic")
        lease = json.loads(cluster.kubectl("get", "lease", names.site_lease_name("clinic"), "-o", "json"))
        times.append(lease["spec"]["renewTime"])
        assert lease["spec"]["leaseDurationSeconds"] == names.SITE_LEASE_ACTIVE_S
    assert times[0] < times[1]


def test_an_unreachable_server_is_told(api):
    api.configuration.host = "https://127.0.0.1:9"
    api.configuration.retries = False
    with pytest.raises(StatusUnavailableError):
        KubernetesStatus("default", "heart", "uid", api).publish({})
