"""What the pods of a site's ring are told about it, and the labels by which they are found. Pure.

Called by training_job.py, ring_service.py and ring_policy.py. The names of the variables are in fedapi.names; the
trainer's settings read them.
"""

from fedapi import names
from fedoperator.desired.identity import Identity
from fedoperator.desired.pool import Shape

_LOOPBACK = "127.0.0.1"


def environment(shape: Shape) -> dict[str, str]:
    """Variables with fixed values. A single rank on CPU or one GPU is no ring and is told of none."""
    env: dict[str, str] = {names.ENV_ACCELERATOR: shape.accelerator}
    if shape.ranks > 1 or shape.slices:
        env |= {names.ENV_COLLECTIVE: shape.collective, names.ENV_BACKEND: shape.backend}
    if shape.ranks == 1:
        return env
    env |= {
        names.ENV_RING_WORKERS: str(shape.workers),
        names.ENV_RING_MIN_WORKERS: str(shape.min_workers),
        names.ENV_RING_SLOTS: str(shape.slots),
        names.ENV_RING_PORT: str(names.RING_PORT),
    }
    if shape.slices:
        env[names.ENV_RING_SLICE_HOSTS] = str(shape.hosts)
    return env


def fields(shape: Shape, *, jobset: bool) -> dict[str, str]:
    """Variable -> field of the pod that it comes from."""
    found = {names.ENV_RING_ADDRESS: "status.podIP"} if shape.workers > 1 else {}
    if jobset:
        found[names.ENV_RING_SLICE] = f"metadata.labels['{names.LABEL_JOBSET_INDEX}']"
    return found


def rendezvous(identity: Identity, client: str, shape: Shape, worker_0: str, cluster_domain: str) -> dict[str, str]:
    """Where worker 0 is found: by the name of its pod, below the ring's Service. `worker_0`: that pod's host name."""
    if shape.ranks == 1:
        return {}
    if shape.workers == 1:
        return {names.ENV_RING_LEADER: _LOOPBACK, names.ENV_RING_ADDRESS: _LOOPBACK}
    service = names.ring_service_name(identity.name, client)
    return {names.ENV_RING_LEADER: f"{worker_0}.{service}.{identity.namespace}.svc.{cluster_domain}"}


def selector(identity: Identity, client: str) -> dict[str, str]:
    """Labels of the ring's pods. The uid keeps a recreated job's ring apart from its predecessor's dying pods."""
    labels = identity.labels(names.ROLE_TRAINER, client)
    return {key: labels[key] for key in (names.LABEL_JOB_UID, names.LABEL_CLIENT, names.LABEL_ROLE)}
