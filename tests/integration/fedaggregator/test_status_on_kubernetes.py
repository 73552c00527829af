"""The Kubernetes status adapter against a real API server: one writer per leaf, the uid guard, Leases, errors."""

from datetime import datetime, timedelta

import pytest
from kubernetes import client, config

from fedaggregator.adapters.kubernetes import KubernetesStatus
from fedaggregator.bucketcheck import facts
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.status import status
from fedapi import names
from fedapi.crd.ledger import LedgerStatus
from fedcore.rounds import machine
from fedstore.care.wanted import Finding
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.waiting import until

pytestmark = pytest.mark.apiserver
JOB = {
    "apiVersion": names.API_VERSION,
    "kind": names.JOB_KIND,
    "spec": {"task": {"entrypoint": "task:make", "image": "example/task:1"}, "rounds": 2},
}


@pytest.fixture
def job(api, namespace):
    return made(api, namespace)


@pytest.fixture
def connection(api):
    loaded = client.Configuration()
    config.load_kube_config(str(api.cluster.kubeconfig), client_configuration=loaded)
    with client.ApiClient(loaded) as opened:
        yield opened


def made(api, namespace):
    return api.create(JOB | {"metadata": {"name": "heart", "namespace": namespace}})


def gone(api, job):
    namespace = job["metadata"]["namespace"]
    api.delete(names.JOB_KIND, namespace, "heart")
    until(lambda: not api.get(names.JOB_KIND, namespace, "heart", missing_ok=True))


def shown(api, job):
    return api.get(names.JOB_KIND, job["metadata"]["namespace"], "heart")


def sink_of(job, connection):
    return KubernetesStatus(job["metadata"]["namespace"], "heart", job["metadata"]["uid"], connection)


def finished_state():
    state = rules.collecting(rounds=1)
    for site in "ab":
        state, _ = rules.evaluated(state, site, 0, rules.A, 0.25)
        state, _ = rules.accept(state, site)
    state, _ = machine.step(state, rules.Folded(40.0, 1, 1, rules.ref(rules.B)))
    for site in "ab":
        state, _ = rules.evaluated(state, site, 1, rules.B, 0.79)
    return state


def test_every_status_is_taken_and_leaves_of_others_stay(api, job, connection):
    api.patch(names.JOB_KIND, job["metadata"]["namespace"], "heart", {"status": {"phase": "Running"}}, "status")
    sink = sink_of(job, connection)
    found = facts((Finding("versions are kept", "Versioning", "missing", "what is deleted is gone"),), 0.0)
    for state in (rules.State(rules.config(), epoch=1), rules.collecting(), finished_state()):
        sink.publish(status(state, storage=found))
    now = shown(api, job)
    assert now["status"]["phase"] == "Running"
    assert now["status"]["headlineMetric"] == "accuracy 0.79"
    assert now["status"]["outcome"]["result"] == "Succeeded"
    assert now["status"]["storage"] == found.dump()
    assert "startTime" not in now["status"]["round"]  # what is no longer said is gone
    managers = [m["manager"] for m in now["metadata"]["managedFields"] if m.get("subresource") == "status"]
    assert names.AGGREGATOR_MANAGER in managers
    version = now["metadata"]["resourceVersion"]
    sink.publish(status(finished_state(), storage=found))
    assert shown(api, job)["metadata"]["resourceVersion"] == version


def test_a_recreated_job_is_not_written_by_its_predecessor(api, job, connection):
    old = sink_of(job, connection)
    old.publish(status(rules.State(rules.config(), epoch=1)))  # it knows a version of the old object
    gone(api, job)
    made(api, job["metadata"]["namespace"])
    with pytest.raises(StatusUnavailableError, match="recreated"):
        old.publish(status(rules.collecting()))
    assert "status" not in shown(api, job)


def test_a_deleted_job_is_not_made_anew(api, job, connection):
    gone(api, job)
    with pytest.raises(StatusUnavailableError, match="404"):
        sink_of(job, connection).publish(status(rules.collecting()))
    assert api.listed(names.JOB_KIND, job["metadata"]["namespace"]) == []


def test_a_process_that_is_stopped_can_tell_whether_its_job_was_deleted(api, job, connection):
    sink, stranger = sink_of(job, connection), client.Configuration()
    assert not sink.job_deleted()
    stranger.host, stranger.ssl_ca_cert = connection.configuration.host, connection.configuration.ssl_ca_cert
    stranger.api_key = {"authorization": "Bearer of-an-account-that-is-gone"}
    with client.ApiClient(stranger) as opened:
        assert sink_of(job, opened).job_deleted()
    nowhere = client.Configuration(host="https://127.0.0.1:1")
    nowhere.retries = False
    with client.ApiClient(nowhere) as opened:
        assert not sink_of(job, opened).job_deleted(), "it is not known, so nothing is done"
    gone(api, job)
    assert sink.job_deleted()
    made(api, job["metadata"]["namespace"])
    assert sink.job_deleted()


def test_what_the_status_last_said_is_read_of_this_very_job(api, job, connection):
    sink = sink_of(job, connection)
    assert sink.last() == {}
    ledger = LedgerStatus(size=3, root="0" * 64, public_key="name+id+key")
    sink.publish(status(rules.collecting(), ledger=ledger))
    assert sink.last()["ledger"] == {"size": 3, "root": "0" * 64, "publicKey": "name+id+key"}
    gone(api, job)
    made(api, job["metadata"]["namespace"])
    assert sink.last() == {}, "it is another job"
    nowhere = client.Configuration(host="https://127.0.0.1:1")
    nowhere.retries = False
    with client.ApiClient(nowhere) as opened, pytest.raises(StatusUnavailableError):
        sink_of(job, opened).last()


def lease_of(api, job):
    return api.get("Lease", job["metadata"]["namespace"], names.site_lease_name("clinic"))["spec"]


def test_leases_are_renewed(api, job, connection):
    sink = sink_of(job, connection)
    times = []
    for ago_s in (30, 0):
        sink.heard("clinic", ago_s)
        lease = lease_of(api, job)
        times.append(datetime.fromisoformat(lease["renewTime"]))
        assert lease["leaseDurationSeconds"] == names.SITE_LEASE_ACTIVE_S
    assert times[1] - times[0] >= timedelta(seconds=30)


def test_a_site_of_two_jobs_is_renewed_by_one_of_them(api, job, connection):
    sink_of(job, connection).heard("clinic", 30)
    other = KubernetesStatus(job["metadata"]["namespace"], "lung", "uid-2", connection)
    first = lease_of(api, job)
    until(lambda: other._api.call("GET", lease_path(job), None, ("resourceVersion", "0"))[0] == 200)
    other.heard("clinic", 0)
    assert lease_of(api, job) == first, "renewed 30 s ago"
    sink_of(job, connection).heard("clinic", 100)
    until(lambda: seen_by(other, job) == lease_of(api, job)["renewTime"])
    other.heard("clinic", 0)
    assert lease_of(api, job)["holderIdentity"] == names.aggregator_name("lung"), "the other one is silent"


def lease_path(job):
    name = names.site_lease_name("clinic")
    return f"/apis/coordination.k8s.io/v1/namespaces/{job['metadata']['namespace']}/leases/{name}"


def seen_by(sink, job):
    return sink._api.call("GET", lease_path(job), None, ("resourceVersion", "0"))[1]["spec"]["renewTime"]


def test_an_unreachable_server_is_told(connection):
    connection.configuration.host = "https://127.0.0.1:9"
    connection.configuration.retries = False
    with pytest.raises(StatusUnavailableError):
        KubernetesStatus("default", "heart", "uid", connection).publish({})
