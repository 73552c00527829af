"""The Jobs of backups: where they may run, what of them sees credentials, and that none runs beside another."""

import pytest

from fedapi import names
from fedoperator.desired.backup_job import (
    NEVER,
    backup_cron_job,
    backup_job_spec,
    triggered_backup,
    verify_cron_job,
    verify_job_spec,
)
from fedoperator.desired.init_job import HubImage
from tests.unit.fedoperator import samples as s

HUB = HubImage("hub:1", "IfNotPresent")
SANDBOX = {"volumes": [{"name": "rows", "configMap": {"name": "sandbox"}}]}
BACKUP = {"schedule": "0 3 * * *", "verify": {"schedule": "0 4 * * *", "data": SANDBOX}}
BUCKET = {"s3": {"bucket": "models", "credentialsSecretRef": {"name": "fedloom-store-a"}}}


def pod(spec):
    return spec["template"]["spec"]


def created(**spec):
    job = s.job(**{"backup": BACKUP} | spec)
    return pod(backup_job_spec(job, job.spec.backup, HUB, ""))


def verified(**spec):
    job = s.job(**{"backup": BACKUP} | spec)
    return pod(verify_job_spec(job, job.spec.backup, job.spec.backup.verify, HUB, ""))


def mounted(container):
    return {mount["name"] for mount in container["volumeMounts"]}


def test_with_a_volume_it_is_on_the_aggregators_node_and_anywhere_when_there_is_no_aggregator():
    """A pod that the term itself selects is scheduled like any other where no such pod runs."""
    (term,) = created()["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    selector = term["labelSelector"]
    assert selector["matchLabels"] == {names.LABEL_JOB_UID: s.UID}
    (roles,) = selector["matchExpressions"]
    assert set(roles["values"]) == {names.ROLE_AGGREGATOR, names.ROLE_BACKUP}
    assert "affinity" not in created(storage=BUCKET)


def test_the_store_is_only_read():
    (container,) = created()["containers"]
    store = next(mount for mount in container["volumeMounts"] if mount["name"] == "store")
    assert store["readOnly"] is True


def test_of_the_aggregators_secret_it_sees_the_jobs_key_alone():
    volumes = {volume["name"]: volume for volume in created()["volumes"]}
    assert volumes["credentials"]["secret"]["items"] == [{"key": "job.key", "path": "job.key"}]


def test_the_tasks_code_sees_no_credential_no_token_and_nothing_of_the_store():
    made = verified(backup=BACKUP | {"destination": BUCKET})
    hub, task = made["containers"]
    assert (hub["image"], task["image"]) == ("hub:1", "registry.example/heart:1")
    assert mounted(hub) == {"credentials", "api", "backup-credentials", "verify", "tmp"}
    assert mounted(task) == {"verify", "data-rows", "tmp-evaluate"}
    assert mounted(hub) & mounted(task) == {"verify"}, "what was restored lies in a /tmp that the task does not see"
    assert made["automountServiceAccountToken"] is False
    template = verify_job_spec_of(backup=BACKUP | {"destination": BUCKET})["template"]
    assert set(template["metadata"]["annotations"].values()) == {"evaluate"}, "clouds' webhooks leave it out"


def verify_job_spec_of(**spec):
    job = s.job(**spec)
    return verify_job_spec(job, job.spec.backup, job.spec.backup.verify, HUB, "")


def test_a_verification_does_not_touch_the_jobs_store():
    for container in verified()["containers"]:
        assert "store" not in mounted(container)
        assert names.ENV_STORE not in {entry["name"] for entry in container["env"]}


def test_without_a_sandbox_set_no_code_of_the_task_runs():
    (hub,) = verified(backup=BACKUP | {"verify": {"schedule": "@daily"}})["containers"]
    assert names.ENV_VERIFY_DIR not in {entry["name"] for entry in hub["env"]}


@pytest.mark.parametrize(("stop", "metric"), [(None, None), ({"metric": "auc", "target": "1"}, "auc")])
def test_the_metric_is_the_jobs_unless_another_is_named(stop, metric):
    env = {
        entry["name"]: entry["value"] for entry in verified(**({"stop": stop} if stop else {}))["containers"][0]["env"]
    }
    assert env.get(names.ENV_BACKUP_METRIC) == metric
    named = verified(backup=BACKUP | {"verify": BACKUP["verify"] | {"metric": "f1"}})["containers"][0]["env"]
    assert {"name": names.ENV_BACKUP_METRIC, "value": "f1"} in named


def test_no_two_runs_overlap_and_hours_are_utc():
    job = s.job(backup=BACKUP)
    crons = (
        backup_cron_job(job, job.spec.backup, HUB, "", suspend=False),
        verify_cron_job(job, job.spec.backup, job.spec.backup.verify, HUB, "", suspend=True),
    )
    assert [(cron["spec"]["concurrencyPolicy"], cron["spec"]["timeZone"]) for cron in crons] == [
        ("Forbid", "Etc/UTC")
    ] * 2
    assert [cron["spec"]["suspend"] for cron in crons] == [False, True]
    assert [len(cron["metadata"]["name"]) <= 52 for cron in crons] == [True, True]


def test_without_a_schedule_the_cron_job_is_a_template_that_is_never_due():
    job = s.job(backup={"everyRounds": 5})
    spec = backup_cron_job(job, job.spec.backup, HUB, "", suspend=False)["spec"]
    assert (spec["schedule"], spec["suspend"]) == (NEVER, True)
    triggered = triggered_backup(job, job.spec.backup, HUB, "", "heart-backup-5")
    assert triggered["spec"] == spec["jobTemplate"]["spec"]
    assert triggered["metadata"]["name"] == "heart-backup-5"
