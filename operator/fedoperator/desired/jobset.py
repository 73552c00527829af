"""The JobSet of a TPU pool whose slices have several hosts: a Job per slice, each alone on one node pool. Pure.

Called by training_job.py where the JobSet resource is installed. `suspend` is as in jobs.py. The pods' names and
their Service are Fedloom's own, as for Jobs, so JobSet's DNS feature, which would make a second Service of that name,
is off: an Indexed Job gives its pods the same host names. Child Jobs fail on fatal exit codes only, and then running
again cannot help: the first one fails the JobSet, no restarts. Pods end well only when the whole site has finished, so
the first Job that does ends the JobSet well.
"""

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.identity import Identity

REPLICATED_JOB = "slice"
_EXCLUSIVE = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}


def jobset_spec(job_spec: Json, slices: int) -> Json:
    """One Job of `job_spec` per slice. The Jobs bear none of our labels: the JobSet is what is watched."""
    return {
        "replicatedJobs": [{"name": REPLICATED_JOB, "replicas": slices, "template": {"spec": job_spec}}],
        "network": {"enableDNSHostnames": False},
        "failurePolicy": {"maxRestarts": 0},
        "successPolicy": {"operator": "Any", "targetReplicatedJobs": [REPLICATED_JOB]},
    }


def jobset(identity: Identity, name: str, spec: Json, client: str) -> Json:
    """The JobSet around `spec`, without `suspend`."""
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": identity.metadata(name, names.ROLE_TRAINER, client) | {"annotations": dict(_EXCLUSIVE)},
        "spec": spec,
    }


def first_pod(name: str) -> str:
    """Host name of the first slice's first pod: worker 0."""
    return f"{name}-{REPLICATED_JOB}-0-0"
