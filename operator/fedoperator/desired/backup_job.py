"""The CronJobs that make and verify a job's backups, and the Job that makes one because of the rounds that were committed.

Backups are made beside the aggregator, which may hold the store's volume on its node, and after it. What a verification
restores it takes from the destination alone: the job's store may be lost. See docs/backup.md.
"""

from dataclasses import replace

from fedapi import names
from fedapi.crd.backup import Backup, Verify
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.podfields import PodAdditions
from fedapi.jsonvalue import Json
from fedoperator.desired import hub_pod, store_place
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import DEFAULT_RESOURCES, HubImage, task_environment
from fedoperator.desired.jobs import job as job_of
from fedoperator.desired.jobs import job_spec
from fedoperator.desired.pod import Mount, PodParts, resources, template
from fedoperator.desired.site_data import data_mount

NEVER = "0 0 31 2 *"  # of a CronJob that is only a template: suspended, and if somebody lets it go, due on no day
LATEST_S = 3600  # a run that could not begin within it is left to the next
_VERIFIED = Mount("verify", {"emptyDir": {}}, names.PATH_VERIFY)


def backup_job_spec(job: FederatedJob, backup: Backup, hub: HubImage, keys: str) -> Json:
    """The Job that makes a backup. Beside the aggregator where the store is a volume, which is on one node at a time."""
    identity, spec = Identity.of(job, keys), job.spec
    store, destination = spec.storage.bucket, backup.destination.bucket
    parts = hub_pod.parts(job, hub, names.ROLE_BACKUP, "create")
    roles = {"key": names.LABEL_ROLE, "operator": "In", "values": [names.ROLE_AGGREGATOR, names.ROLE_BACKUP]}
    # Its own pods are among those that it has to be beside: the first of them is then scheduled like any other.
    beside = {"matchLabels": {names.LABEL_JOB_UID: identity.uid}, "matchExpressions": [roles]}
    made = replace(
        parts,
        env={
            **parts.env,
            **_of_both(job, backup),
            names.ENV_STATUS: "kubernetes",
            names.ENV_BACKUP_OBJECTS: "kubernetes",
            names.ENV_CONFIG_FILE: f"{names.PATH_CONFIG}/{names.CONFIG_FILE}",
            names.ENV_BACKUP_KEEP_LAST: str(backup.keep_last),
            **({names.ENV_BACKUP_COLD_AFTER_DAYS: str(backup.cold_after_days)} if backup.cold_after_days else {}),
        },
        mounts=(
            Mount("config", {"configMap": {"name": identity.aggregator}}, names.PATH_CONFIG, read_only=True),
            hub_pod.signing_key(identity),
            hub_pod.api_access(),
            *store_place.mounts(store_place.STORE, store, identity.claim, read_only=True),
            *store_place.mounts(store_place.BACKUP, destination, identity.backup_claim),
        ),
        spec_extra={
            "serviceAccountName": identity.backup_account,
            **store_place.affinity(spec, beside=beside if store is None else None),
        },
    )
    return _once(template(made))


def _of_both(job: FederatedJob, backup: Backup) -> dict[str, str]:
    store = store_place.environment(store_place.STORE, job.spec.storage.bucket)
    return store | store_place.environment(store_place.BACKUP, backup.destination.bucket)


def _once(pod: Json) -> Json:
    return job_spec(pod, hub_pod.BACKOFF, container=None, fatal=hub_pod.FATAL)


def verify_job_spec(job: FederatedJob, backup: Backup, verify: Verify, hub: HubImage, keys: str) -> Json:
    """The Job that verifies the newest backup: the hub's container restores and judges, the task's evaluates.

    They share the folder of question, model and answer alone, and no process sees those of the other: another user for
    the task would keep it from nothing more, and from data that only this user may read.
    """
    identity, destination = Identity.of(job, keys), backup.destination.bucket
    parts = hub_pod.parts(job, hub, names.ROLE_VERIFY, "verify")
    measured = {
        names.ENV_VERIFY_DIR: names.PATH_VERIFY,
        names.ENV_BACKUP_TOLERANCE: verify.tolerance,
        **({names.ENV_BACKUP_METRIC: metric} if (metric := _metric(job, verify)) else {}),
    }
    made = replace(
        parts,
        env={
            **parts.env,
            **store_place.environment(store_place.BACKUP, destination),
            names.ENV_STATUS: "kubernetes",
            "TMPDIR": names.PATH_TMP,  # it restores there, where the task's container sees nothing of it
            **(measured if verify.data else {}),
        },
        mounts=(
            hub_pod.signing_key(identity),
            hub_pod.api_access(),
            *store_place.mounts(store_place.BACKUP, destination, identity.backup_claim),
            *((_VERIFIED,) if verify.data else ()),
        ),
        patch=_additions(job),
        annotations=dict.fromkeys((names.ANNOTATION_AWS_SKIPPED, names.ANNOTATION_AZURE_SKIPPED), hub_pod.EVALUATE),
        spec_extra={"serviceAccountName": identity.backup_account, **store_place.affinity(job.spec)},
    )
    return _once(template(made, beside=_evaluate(job, verify)))


def _metric(job: FederatedJob, verify: Verify) -> str:
    return verify.metric or (job.spec.stop.metric if job.spec.stop else "")


def _evaluate(job: FederatedJob, verify: Verify) -> PodParts | None:
    """The task's own code on the sandbox set: with no credentials, no token and nothing of the store."""
    if verify.data is None:
        return None
    patch, task = job.spec.training.pod_template, job.spec.task
    told = {names.ENV_DATA_DIR: names.PATH_DATA, names.ENV_VERIFY_DIR: names.PATH_VERIFY}
    return PodParts(
        labels={},
        container=hub_pod.EVALUATE,
        image=task.image,
        pull_policy=task.image_pull_policy,
        args=("evaluate",),
        env=task_environment(job) | told,
        user_env=(patch.variables() if patch else {}) | {entry.name: entry.value for entry in verify.data.env},
        mounts=(_VERIFIED, *(data_mount(volume) for volume in verify.data.volumes)),
        resources=resources(DEFAULT_RESOURCES, verify.resources),
    )


def _additions(job: FederatedJob) -> PodAdditions:
    """Those of the hub's pods; the task's image may need the training pods' pull Secrets, too."""
    hub, training = job.spec.aggregator.pod_template, job.spec.training.pod_template
    given = [name for each in (hub, training) if each for name in each.image_pull_secrets or ()]
    return (hub or PodAdditions()).model_copy(update={"image_pull_secrets": list(dict.fromkeys(given))})


def _cron_job(identity: Identity, name: str, role: str, schedule: str | None, spec: Json, *, suspend: bool) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": identity.metadata(name, role),
        "spec": {
            "schedule": schedule or NEVER,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LATEST_S,
            "suspend": suspend or schedule is None,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": identity.labels(role)}, "spec": spec},
        },
    }


def backup_cron_job(job: FederatedJob, backup: Backup, hub: HubImage, keys: str, *, suspend: bool) -> Json:
    """Makes backups by the clock; of a job that only has everyRounds, what `kubectl create job --from` makes them of."""
    identity = Identity.of(job)
    made = backup_job_spec(job, backup, hub, keys)
    return _cron_job(identity, identity.backup, names.ROLE_BACKUP, backup.schedule, made, suspend=suspend)


def verify_cron_job(
    job: FederatedJob, backup: Backup, verify: Verify, hub: HubImage, keys: str, *, suspend: bool
) -> Json:
    """Verifies the newest backup by the clock."""
    identity = Identity.of(job)
    made = verify_job_spec(job, backup, verify, hub, keys)
    return _cron_job(identity, identity.verify, names.ROLE_VERIFY, verify.schedule, made, suspend=suspend)


def triggered_backup(job: FederatedJob, backup: Backup, hub: HubImage, keys: str, name: str) -> Json:
    """A backup because rounds were committed: the CronJob's own Job under a name that says after which."""
    return job_of(Identity.of(job), names.ROLE_BACKUP, name, backup_job_spec(job, backup, hub, keys))
