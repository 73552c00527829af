"""A site's training Job: the site's pool and data, the job's task. Lives as long as the FederatedJob.

Training settings (epochs, batch size, optimizer) are not here: they travel with each round's order.
"""

from functools import partial

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import DataVolume, FLClient, Pool
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity, Json
from fedoperator.desired.init_job import task_environment
from fedoperator.desired.jobs import BACKOFF_UNLIMITED, TRAINER_CONTAINER, job
from fedoperator.desired.pod import Mount, PodParts, patch_env, resources, secret_source, template


def _data_mount(volume: DataVolume) -> Mount:
    """Read-only twice: the mount for the task, the claim so that the kubelet never changes its ownership."""
    path, name = f"{names.PATH_DATA}/{volume.name}", f"data-{volume.name}"
    if volume.persistent_volume_claim is not None:
        claim = {"claimName": volume.persistent_volume_claim.claim_name, "readOnly": True}
        return Mount(name, {"persistentVolumeClaim": claim}, path, read_only=True)
    source = volume.config_map.name if volume.config_map else ""
    return Mount(name, {"configMap": {"name": source}}, path, read_only=True)


def _state_mount(client: FLClient) -> Mount:
    """All jobs' folder: the trainer has one per job uid in it, and removes those of jobs that are gone."""
    state = client.spec.state
    if state is None:
        return Mount("state", {"emptyDir": {}}, names.PATH_STATE)
    claim = {"claimName": state.persistent_volume_claim.claim_name}
    return Mount("state", {"persistentVolumeClaim": claim}, names.PATH_STATE, sub_path="fedloom")


def _mounts(client: FLClient, identity: Identity) -> tuple[Mount, ...]:
    secret = identity.site_secret(client.metadata.name)
    return (
        Mount("credentials", secret_source(secret), names.PATH_CREDENTIALS, read_only=True),
        *(_data_mount(volume) for volume in client.spec.data.volumes),
        _state_mount(client),
    )


def _environment(spec_job: FederatedJob, client: FLClient, cluster_domain: str) -> dict[str, str]:
    return task_environment(spec_job) | {
        names.ENV_CLIENT: client.metadata.name,
        names.ENV_AGGREGATOR_URL: aggregator.url(Identity.of(spec_job), cluster_domain),
        names.ENV_CREDENTIALS_DIR: names.PATH_CREDENTIALS,
        names.ENV_DATA_DIR: names.PATH_DATA,
        names.ENV_STATE_DIR: names.PATH_STATE,
    }


def _resources(spec_job: FederatedJob, pool: Pool) -> Json:
    """The site's resources win over the job's; devices are limits, which the API server copies into requests."""
    chosen = resources(spec_job.spec.training.resources, pool.resources)
    if pool.accelerator == "GPU" and pool.resource_name:
        chosen["limits"] = chosen.get("limits", {}) | {pool.resource_name: str(pool.count or 1)}
    return chosen


def training_job(spec_job: FederatedJob, client: FLClient, cluster_domain: str) -> Json:
    """The site's training Job, without `suspend` (see fedoperator.desired.jobs)."""
    identity, spec, site = Identity.of(spec_job), spec_job.spec, client.metadata.name
    patch, pool = spec.training.pod_template, client.spec.pool
    parts = PodParts(
        labels=identity.labels(names.ROLE_TRAINER, site),
        container=TRAINER_CONTAINER,
        image=spec.task.image,
        pull_policy=spec.task.image_pull_policy,
        args=("train",),
        env=_environment(spec_job, client, cluster_domain),
        user_env=patch_env(patch) | {entry.name: entry.value for entry in client.spec.data.env},
        mounts=_mounts(client, identity),
        resources=_resources(spec_job, pool),
        patch=patch,
        node_selector=pool.node_selector or {},
        tolerations=tuple(t.dump() for t in pool.tolerations or ()),
        priority_class=spec.priority_class_name,
    )
    name_of = partial(names.training_job_name, identity.name, site)
    return job(identity, names.ROLE_TRAINER, name_of, template(parts), BACKOFF_UNLIMITED, site)
