"""The init Job: builds the initial model from the task image, on no site's data, into the store volume.

It mounts one folder of that volume only, and runs on the aggregator's node because the volume is ReadWriteOnce.
"""

import json

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.fields import Resources
from fedapi.jsonvalue import Json
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity
from fedoperator.desired.jobs import INIT_BACKOFF, TRAINER_CONTAINER, job, job_spec, spec_hash
from fedoperator.desired.pod import Mount, PodParts, resources, template

DEFAULT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"})  # no limit: the model may be of any size


def task_environment(spec_job: FederatedJob) -> dict[str, str]:
    """Environment that every process with the task's code gets: who it works for, what the task is."""
    identity, task = Identity.of(spec_job), spec_job.spec.task
    return {
        names.ENV_JOB: identity.name,
        names.ENV_NAMESPACE: identity.namespace,
        names.ENV_JOB_UID: identity.uid,
        names.ENV_ENTRYPOINT: task.entrypoint,
        names.ENV_TASK_ARGS: json.dumps(task.args, sort_keys=True),
        names.ENV_SEED: str(spec_job.spec.seed),
        names.ENV_TERMINATION_LOG: names.PATH_TERMINATION_LOG,
    }


def _beside_aggregator(identity: Identity) -> Json:
    term = {
        "labelSelector": {"matchLabels": aggregator.selector(identity)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def init_job(spec_job: FederatedJob) -> Json:
    """The Job that writes round 0's model. The aggregator's placement applies, the training resources do not: no GPU."""
    identity, spec = Identity.of(spec_job), spec_job.spec
    place, patch = spec.aggregator.pod_template, spec.training.pod_template
    source = {"persistentVolumeClaim": {"claimName": identity.claim}}
    parts = PodParts(
        labels=identity.labels(names.ROLE_INIT),
        container=TRAINER_CONTAINER,
        image=spec.task.image,
        pull_policy=spec.task.image_pull_policy,
        args=("init",),
        env=task_environment(spec_job) | {names.ENV_INIT_DIR: names.PATH_INIT},
        user_env=patch.variables() if patch else {},
        mounts=(Mount("store", source, names.PATH_INIT, sub_path=identity.incoming),),
        resources=resources(DEFAULT_RESOURCES, spec.aggregator.resources),
        node_selector=(place.node_selector if place else None) or {},
        tolerations=tuple(t.dump() for t in (place.tolerations if place else None) or ()),
        patch=patch.model_copy(update={"node_selector": None, "tolerations": None}) if patch else None,
        priority_class=spec.priority_class_name,
        spec_extra={"affinity": _beside_aggregator(identity)},
    )
    made = job_spec(template(parts), INIT_BACKOFF)
    return job(identity, names.ROLE_INIT, names.init_job_name(identity.name, spec_hash(made)), made)
