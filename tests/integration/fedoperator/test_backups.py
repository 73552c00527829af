"""CronJobs, backups because of rounds and restores on a real API server with Kubernetes' own controllers."""

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import ago, consortium, operator, rests, until

pytestmark = pytest.mark.apiserver

SANDBOX = {"volumes": [{"name": "rows", "configMap": {"name": "sandbox"}}]}
BACKUP = {"schedule": "0 3 1 1 *", "everyRounds": 2, "verify": {"schedule": "0 4 1 1 *", "data": SANDBOX}}
BUCKET = {"s3": {"bucket": "models", "region": "eu-central-1", "credentialsSecretRef": {"name": "fedloom-store-a"}}}
CRONS = ("heart-backup", "heart-verify")


@pytest.fixture(scope="module")
def running(api, tmp_path_factory):
    with operator(api, tmp_path_factory.mktemp("operator"), RESYNC_S=2) as process:
        yield process.wait_ready()


def job_of_role(api, namespace, role):
    """The one Job in that role; None before it is there."""
    return next(iter(api.listed("Job", namespace, f"{names.LABEL_ROLE}={role}") or ()), None)


def condition(api, namespace, type_):
    status = api.get("FederatedJob", namespace, "heart")["status"]
    return {each["type"]: each for each in status["conditions"]}[type_]


def told(api, namespace, **leaves):
    """Plays the aggregator or the backup."""
    api.patch("FederatedJob", namespace, "heart", {"status": leaves}, "status")


def round_(committed):
    return {
        "current": committed,
        "total": 3,
        "attempt": 1,
        "accepted": 0,
        "committed": committed,
        "progress": f"{committed}/3",
    }


def pod_ends(api, namespace, role, code, message=""):
    """Plays the kubelet: the pod of that role has run and ended."""
    (pod,) = api.listed("Pod", namespace, f"{names.LABEL_ROLE}={role}")
    containers = [each["name"] for each in pod["spec"]["containers"]]
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message, "finishedAt": ago(0)}
    common = {"ready": False, "restartCount": 0, "image": "i", "imageID": "i", "state": {"terminated": ended}}
    statuses = [{"name": name} | common for name in containers]
    status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses}
    api.patch("Pod", namespace, pod["metadata"]["name"], {"status": status}, "status")


@pytest.mark.parametrize("storage", [{}, BUCKET], ids=["volume", "bucket"])
def test_cron_jobs_are_made_and_nothing_is_written_at_rest(api, namespace, running, storage):
    consortium(
        api,
        namespace,
        "site-a",
        backup=BACKUP | {"destination": {"azure": {"account": "abc", "container": "copies"}}},
        storage=storage,
    )
    for name in CRONS:
        until(lambda name=name: api.get("CronJob", namespace, name))
    until(lambda: condition(api, namespace, "BackupHealthy")["reason"] == "NoBackupYet")
    claims = api.listed("PersistentVolumeClaim", namespace, f"{names.LABEL_JOB}=heart") or []
    assert len(claims) == (0 if storage else 1)
    rests(api, running, namespace)


def test_what_somebody_set_in_a_cron_job_is_taken_back_and_it_is_suspended_with_the_job(api, namespace, running):
    consortium(api, namespace, "site-a", backup=BACKUP)
    until(lambda: api.get("CronJob", namespace, CRONS[0]))
    api.patch("CronJob", namespace, CRONS[0], {"spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow"}})

    def spec():
        return api.get("CronJob", namespace, CRONS[0])["spec"]

    until(lambda: (spec()["schedule"], spec()["concurrencyPolicy"]) == (BACKUP["schedule"], "Forbid"))
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": True}})
    until(lambda: spec()["suspend"])
    api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": False}})
    until(lambda: not spec()["suspend"])
    api.delete("CronJob", namespace, CRONS[1])
    until(lambda: api.get("CronJob", namespace, CRONS[1]))


def test_a_backup_by_hand_is_seen_and_how_it_ended_is_told(api, namespace, running):
    consortium(api, namespace, "site-a", backup=BACKUP)
    until(lambda: api.get("CronJob", namespace, CRONS[0]))
    api.cluster.kubectl("create", "job", "by-hand", f"--from=cronjob/{CRONS[0]}", "-n", namespace)
    until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_BACKUP}"))
    pod_ends(api, namespace, names.ROLE_BACKUP, 19, "the bucket ignores conditions")
    until(lambda: condition(api, namespace, "BackupHealthy")["reason"] == "BackupFailed")
    assert "StoreUnfit: the bucket ignores conditions" in condition(api, namespace, "BackupHealthy")["message"]
    assert api.get("Job", namespace, "by-hand"), "what a person made is left to him"


def test_rounds_and_the_end_make_backups_that_run_without_the_aggregator(api, namespace, running):
    consortium(api, namespace, "site-a", backup=BACKUP)
    until(lambda: api.get("CronJob", namespace, CRONS[0]))
    told(api, namespace, round=round_(2))
    first = until(lambda: job_of_role(api, namespace, names.ROLE_BACKUP))["metadata"]["name"]
    until(lambda: not api.get("Job", namespace, first)["spec"]["suspend"])
    until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_BACKUP}"))
    pod_ends(api, namespace, names.ROLE_BACKUP, 0)
    told(api, namespace, backup={"lastTime": ago(0), "round": 2, "bytes": 10})
    outcome = {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": ago(0)}
    told(api, namespace, round=round_(3), outcome=outcome)
    last = names.triggered_backup_name("heart", 3)
    until(lambda: not api.get("Job", namespace, last)["spec"]["suspend"])
    until(lambda: condition(api, namespace, "Complete")["status"] == "True")
    until(lambda: api.get("Deployment", namespace, names.aggregator_name("heart"))["spec"]["replicas"] == 0)
    assert not api.get("CronJob", namespace, CRONS[0])["spec"]["suspend"]
    until(lambda: not api.get("Job", namespace, first, missing_ok=True))  # the record of the one before goes


def test_a_restore_comes_before_the_aggregator(api, namespace, running):
    source = {"persistentVolumeClaim": {"claimName": "lost-backup-store-01234567"}}
    consortium(api, namespace, "site-a", restoreFrom={"source": source, "backup": f"{namespace}/lost"})
    made = until(lambda: job_of_role(api, namespace, names.ROLE_RESTORE))["metadata"]["name"]
    deployment = names.aggregator_name("heart")
    until(lambda: api.get("Deployment", namespace, deployment)["spec"]["replicas"] == 0)
    until(lambda: not api.get("Job", namespace, made)["spec"]["suspend"])
    assert not api.listed("Job", namespace, f"{names.LABEL_ROLE}={names.ROLE_INIT}")
    until(lambda: api.listed("Pod", namespace, f"{names.LABEL_ROLE}={names.ROLE_RESTORE}"))
    pod_ends(api, namespace, names.ROLE_RESTORE, 0)
    until(lambda: api.get("Deployment", namespace, deployment)["spec"]["replicas"] == 1)
    until(lambda: condition(api, namespace, "Restored")["status"] == "True")  # written after the objects
