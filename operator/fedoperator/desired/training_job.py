"""A site's training Job: the site's pool and data, the job's task. Lives as long as the FederatedJob, or one round.

Training settings (epochs, batch size, optimizer) are not here: they travel with each round's order.
"""

from collections.abc import Mapping

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient, Pool
from fedapi.crd.task import Task
from fedapi.jsonvalue import Json
from fedoperator.desired import aggregator, confidential, entrusted, placement, private, queues, ring, site_key
from fedoperator.desired.difference import quantity
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import task_environment
from fedoperator.desired.jobs import BACKOFF_UNLIMITED, TRAINER_CONTAINER, job, job_spec, spec_hash
from fedoperator.desired.jobset import first_pod, jobset_spec
from fedoperator.desired.jobset import jobset as jobset_of
from fedoperator.desired.pod import Mount, PodParts, resources, secret_source, template
from fedoperator.desired.pool import Shape, takes_jobset
from fedoperator.desired.site_data import data_mount

SHARED_MEMORY = "2Gi"  # where the container has no memory limit
GRACE_S = 30  # after SIGTERM a rank has 20 s to reach a step and then writes a checkpoint; spot machines give no more


def _state_mount(client: FLClient) -> Mount:
    """All jobs' folder: the trainer has one per job uid in it, and removes those of jobs that are gone."""
    state = client.spec.state
    if state is None:
        return Mount("state", {"emptyDir": {}}, names.PATH_STATE)
    claim = {"claimName": state.persistent_volume_claim.claim_name}
    return Mount("state", {"persistentVolumeClaim": claim}, names.PATH_STATE, sub_path="fedloom")


def _mounts(spec_job: FederatedJob, client: FLClient, identity: Identity) -> tuple[Mount, ...]:
    secret = identity.site_secret(client.metadata.name)
    return (
        Mount("credentials", secret_source(secret), names.PATH_CREDENTIALS, read_only=True),
        *(data_mount(volume) for volume in client.spec.data.volumes),
        _state_mount(client),
        *queues.site_mounts(spec_job.spec, client.spec),
        *entrusted.mounts(client.spec),
        *site_key.mounts(client),
    )


def _shared_memory(asked: str | None, limits: Json) -> Mount:
    """For DataLoader's and NCCL's blocks, which outgrow the 64 MiB that runtimes give. Counts as the container's memory.

    Half of the container's memory limit, as Linux does with a machine's, leaves the other half to the processes.
    """
    limit = limits.get("memory")
    half_mib = int(quantity(limit) / 2 / 2**20) if limit else 0
    size = asked or (f"{max(1, half_mib)}Mi" if limit else SHARED_MEMORY)
    return Mount("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": size}}, names.PATH_SHM)


def _environment(
    spec_job: FederatedJob, client: FLClient, shape: Shape, cluster_domain: str, registry_url: str
) -> dict[str, str]:
    own = {
        names.ENV_CLIENT: client.metadata.name,
        names.ENV_AGGREGATOR_URL: aggregator.url(Identity.of(spec_job), cluster_domain),
        names.ENV_CREDENTIALS_DIR: names.PATH_CREDENTIALS,
        names.ENV_DATA_DIR: names.PATH_DATA,
        names.ENV_STATE_DIR: names.PATH_STATE,
        names.ENV_LIFETIME: spec_job.spec.training.lifetime,
    }
    own |= {names.ENV_REGISTRY_URL: registry_url} if registry_url else {}
    own |= queues.site_environment(spec_job.spec, client.spec) | entrusted.environment(client.spec)
    own |= confidential.site_environment(client.spec) | private.environment(client.spec)
    own |= site_key.environment(client)
    return task_environment(spec_job) | own | ring.environment(shape)


def _resources(spec_job: FederatedJob, pool: Pool, shape: Shape) -> Json:
    """The site's resources win over the job's; devices come on top."""
    chosen = resources(spec_job.spec.training.resources, pool.resources)
    devices = placement.device_limits(pool, shape)
    return chosen | ({"limits": chosen.get("limits", {}) | devices} if devices else {})


def _image(task: Task, shape: Shape) -> str:
    """The image for the site's accelerator, else the one for all."""
    fitting = (entry.image for entry in task.images or () if entry.accelerator == shape.accelerator)
    return next(fitting, task.image)


def _pod(
    spec_job: FederatedJob, client: FLClient, shape: Shape, env: Mapping[str, str], keys: str, *, grouped: bool
) -> Json:
    identity, spec, site = Identity.of(spec_job, keys), spec_job.spec, client.metadata.name
    patch, compute = spec.training.pod_template, _resources(spec_job, client.spec.pool, shape)
    spec_extra: Json = {"terminationGracePeriodSeconds": GRACE_S}
    if shape.workers > 1:
        spec_extra["subdomain"] = names.ring_service_name(identity.name, site)
    parts = PodParts(
        labels=identity.labels(names.ROLE_TRAINER, site),
        annotations={names.ANNOTATION_SLICE_HOSTS: str(shape.hosts)} if grouped else {},
        container=TRAINER_CONTAINER,
        image=_image(spec.task, shape),
        pull_policy=spec.task.image_pull_policy,
        args=("train",),
        env=env,
        env_fields=ring.fields(shape, jobset=grouped),
        user_env=(patch.variables() if patch else {}) | {entry.name: entry.value for entry in client.spec.data.env},
        mounts=(
            *_mounts(spec_job, client, identity),
            _shared_memory(spec.training.shared_memory, compute.get("limits", {})),
        ),
        resources=compute,
        patch=patch,
        node_selector=placement.node_selector(client.spec, shape),
        tolerations=placement.tolerations(client.spec),
        priority_class=spec.priority_class_name,
        spec_extra=spec_extra,
    )
    return template(parts)


def training_job(
    spec_job: FederatedJob,
    client: FLClient,
    cluster_domain: str,
    *,
    jobset: bool = False,
    step: str = "",
    keys: str = "",
    registry_url: str = "",
) -> Json:
    """The site's training Job, without `suspend` (see fedoperator.desired.jobs).

    With `jobset` (the cluster has that resource) a TPU pool of several hosts is a JobSet. `step`: round and attempt
    that the Job is for, with lifetime Round. The name holds a hash of everything but worker 0's address, in which the
    name itself occurs.
    """
    identity, site, shape = Identity.of(spec_job), client.metadata.name, Shape.of(client.spec.pool)
    grouped = jobset and takes_jobset(shape)
    env = _environment(spec_job, client, shape, cluster_domain, registry_url)

    def spec(more: dict[str, str]) -> Json:
        pod = _pod(spec_job, client, shape, env | more, keys, grouped=grouped)
        one = job_spec(pod, BACKOFF_UNLIMITED, shape.hosts if grouped else shape.workers)
        return jobset_spec(one, shape.slices) if grouped else one

    queue = client.spec.pool.queue_name or spec_job.spec.queue_name or ""
    plain = spec({})
    digest = "/".join((spec_hash(plain), queue, step))
    name = (names.jobset_name if grouped else names.training_job_name)(identity.name, site, digest)
    worker_0 = first_pod(name) if grouped else f"{name}-0"
    where = ring.rendezvous(identity, site, shape, worker_0, cluster_domain)
    made = spec(where) if where else plain
    body = jobset_of(identity, name, made, site) if grouped else job(identity, names.ROLE_TRAINER, name, made, site)
    return _queued(body, queue)


def _queued(body: Json, queue: str) -> Json:
    """The Job with its queue's label: on the Job alone, or Kueue would queue every pod as well."""
    if queue:
        body["metadata"]["labels"][names.LABEL_QUEUE] = queue
    return body
