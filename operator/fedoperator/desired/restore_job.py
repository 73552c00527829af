"""The Job that puts a backup into a new job's store, before its aggregator starts. See docs/backup.md."""

from dataclasses import replace

from fedapi import names
from fedapi.crd.backup import RestoreFrom
from fedapi.crd.federatedjob import FederatedJob
from fedapi.jsonvalue import Json
from fedoperator.desired import hub_pod, store_place
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import HubImage
from fedoperator.desired.jobs import job as job_of
from fedoperator.desired.jobs import job_spec, spec_hash
from fedoperator.desired.pod import template

BACKOFF = 6  # ten minutes: a store that is away for a while must not end a job that has no schedule to try again by


def restore_job(job: FederatedJob, restore: RestoreFrom, hub: HubImage, keys: str) -> Json:
    """The Job. Killed, it goes on where it ended; a store that it has filled already it leaves as it is."""
    identity, spec, source = Identity.of(job, keys), job.spec, restore.source.bucket
    claim = restore.source.persistent_volume_claim
    parts = hub_pod.parts(job, hub, names.ROLE_RESTORE, "restore")
    asked = {
        names.ENV_RESTORE_FROM: restore.backup,
        names.ENV_RESTORE_ROUND: None if restore.round is None else str(restore.round),
        names.ENV_BACKUP_PUBLIC_KEY: restore.public_key,
        names.ENV_ROUNDS: str(spec.rounds),
    }
    made = replace(
        parts,
        env={
            **parts.env,
            **store_place.environment(store_place.STORE, spec.storage.bucket),
            **store_place.environment(store_place.BACKUP, source),
            **{name: value for name, value in asked.items() if value is not None},
        },
        mounts=(
            hub_pod.signing_key(identity),
            *store_place.mounts(store_place.STORE, spec.storage.bucket, identity.claim),
            *store_place.mounts(store_place.BACKUP, source, claim.claim_name if claim else "", read_only=True),
        ),
        spec_extra={"serviceAccountName": identity.backup_account, **store_place.affinity(spec)},
    )
    made_spec = job_spec(template(made), BACKOFF, container=None, fatal=hub_pod.FATAL)
    return job_of(identity, names.ROLE_RESTORE, names.restore_job_name(identity.name, spec_hash(made_spec)), made_spec)
