"""The Kubernetes adapter of backups against a real API server: one writer per leaf, both steps' facts, the uid guard, objects."""

import time

import pytest
from kubernetes import client, config

from fedapi import names
from fedbackup import facts
from fedbackup.adapters.kubernetes import KubernetesJob
from fedbackup.errors import NotBackedUpError, NotRestorableError, Reason, StatusRefusedError
from fedbackup.manifest import Evidence
from fedbackup.verify import Proof
from tests.unit.fedbackup.jobs import archive, hub, maker, train
from tests.waiting import until

pytestmark = pytest.mark.apiserver
JOB = {
    "apiVersion": names.API_VERSION,
    "kind": names.JOB_KIND,
    "spec": {"task": {"entrypoint": "task:make", "image": "example/task:1"}, "rounds": 6},
}
SITE = {"apiVersion": names.API_VERSION, "kind": names.CLIENT_KIND, "spec": {"provider": "OnPremises"}}


@pytest.fixture
def job(api, namespace):
    return api.create(JOB | {"metadata": {"name": "heart", "namespace": namespace}})


@pytest.fixture
def connected(api, job):
    loaded = client.Configuration()
    config.load_kube_config(str(api.cluster.kubeconfig), client_configuration=loaded)
    with client.ApiClient(loaded) as opened:
        yield lambda uid=job["metadata"]["uid"]: KubernetesJob(job["metadata"]["namespace"], "heart", uid, opened)


@pytest.fixture(scope="module")
def made():
    job = hub()
    train(job, 2)
    return maker(job, archive()).made()


def shown(api, job):
    return api.get(names.JOB_KIND, job["metadata"]["namespace"], "heart")


def proof(made, now):
    found = Evidence(tool="1", backup=made.found.key, result="Verified", at=now, restore_seconds=1.5)
    return Proof(found, "backups/evidence/x.json")


def test_what_both_steps_say_is_taken_and_stays(api, job, connected, made):
    api.patch(names.JOB_KIND, job["metadata"]["namespace"], "heart", {"status": {"phase": "Running"}}, "status")
    sink, now = connected(), time.time()
    assert sink.told() == {}
    sink.change(lambda before: facts.created(before, made))
    assert sink.told()["round"] == 2
    sink.change(lambda before: facts.verified(before, proof(made, now)))
    status = shown(api, job)["status"]
    assert status["phase"] == "Running", "others' leaves stay"
    backup = status["backup"]
    assert backup["object"] == backup["verifiedObject"] == made.found.key
    assert (backup["round"], backup["restoreSeconds"]) == (2, "1.500")
    sink.change(lambda before: facts.created(before, made))
    assert shown(api, job)["status"]["backup"]["previousBytes"] == backup["bytes"]
    assert shown(api, job)["status"]["backup"]["verifiedTime"] == backup["verifiedTime"], "the other step's facts stay"
    managers = {each["manager"] for each in shown(api, job)["metadata"]["managedFields"]}
    assert names.BACKUP_MANAGER in managers


def test_failures_of_both_steps_stand_beside_each_other_until_each_succeeds(api, job, connected, made):
    sink, now = connected(), time.time()
    empty = NotBackedUpError(Reason.NOTHING_COMMITTED, "nothing " * 500)
    off = NotRestorableError(Reason.METRIC_DIFFERS, "accuracy is off " * 100)
    sink.change(lambda before: facts.failed(before, "Create", empty, now))
    sink.change(lambda before: facts.failed(before, "Verify", off, now, "backups/evidence/y.json"))
    sink.change(lambda before: facts.failed(before, "Verify", off, now, "backups/evidence/z.json"))
    failures = {each["step"]: each for each in shown(api, job)["status"]["backup"]["failures"]}
    assert failures["Create"]["reason"] == "NothingCommitted"
    assert failures["Verify"]["message"].endswith("(evidence backups/evidence/z.json)")
    sink.change(lambda before: facts.created(before, made))
    assert [each["step"] for each in shown(api, job)["status"]["backup"]["failures"]] == ["Verify"]
    sink.change(lambda before: facts.verified(before, proof(made, now)))
    assert "failures" not in shown(api, job)["status"]["backup"]


def test_a_recreated_job_is_never_written_to(api, job, connected, made):
    sink = connected()
    api.delete(names.JOB_KIND, job["metadata"]["namespace"], "heart")
    until(lambda: not api.get(names.JOB_KIND, job["metadata"]["namespace"], "heart", missing_ok=True))
    with pytest.raises(StatusRefusedError, match="404"):
        sink.change(lambda before: facts.created(before, made))
    again = api.create(JOB | {"metadata": {"name": "heart", "namespace": job["metadata"]["namespace"]}})
    with pytest.raises(StatusRefusedError, match="recreated"):
        sink.change(lambda before: facts.created(before, made))
    assert "backup" not in shown(api, again).get("status", {})


def test_a_write_in_between_is_read_again(api, job, connected, made):
    sink, seen = connected(), []

    def disturbed(before):
        if not seen:
            labels = {"metadata": {"labels": {"changed": "meanwhile"}}}
            api.patch(names.JOB_KIND, job["metadata"]["namespace"], "heart", labels)
        seen.append(before)
        return facts.created(before, made)

    sink.change(disturbed)
    assert len(seen) == 2
    assert shown(api, job)["status"]["backup"]["object"] == made.found.key


def test_objects_are_archived_without_what_only_the_server_says(api, job, connected):
    namespace = job["metadata"]["namespace"]
    for name in ("a", "b"):
        api.create(SITE | {"metadata": {"name": name, "namespace": namespace}})
    bodies = connected().of_job(("a", "gone"))
    assert [(body["kind"], body["metadata"]["name"]) for body in bodies] == [
        ("FederatedJob", "heart"),
        ("FLClient", "a"),
    ]
    for body in bodies:
        assert not {"managedFields", "resourceVersion"} & body["metadata"].keys()
