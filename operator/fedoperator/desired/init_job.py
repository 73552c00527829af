"""The init Job: makes the initial model in the task's image, on no site's data, then hands it in to the aggregator.

Containers, one after the other: one runs the task's code and leaves a file in a folder of the pod's own, the next, of the
hub's image, has the init step's token and sends it. With task.initialModel one of the hub's comes first and fetches the
file: it alone has credentials of a store. The Job is let go when the aggregator answers, and may run on any node.
"""

import json
from dataclasses import dataclass, replace

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob, FederatedJobSpec
from fedapi.crd.podfields import PodAdditions, Resources
from fedapi.crd.task import InitialModel
from fedapi.jsonvalue import Json
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity
from fedoperator.desired.jobs import INIT_BACKOFF, TRAINER_CONTAINER, job, job_spec, spec_hash
from fedoperator.desired.pod import Mount, PodParts, preceded, resources, secret_source, template

HANDIN_CONTAINER, FETCH_CONTAINER = "handin", "fetch"
HANDIN_RESOURCES: Json = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
DEFAULT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"})  # no limit: the model may be of any size


@dataclass(frozen=True)
class HubImage:
    """The image of the hub's own programs."""

    image: str
    pull_policy: str


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


def _environment(identity: Identity, cluster_domain: str) -> dict[str, str]:
    return {
        names.ENV_JOB_UID: identity.uid,
        names.ENV_AGGREGATOR_URL: aggregator.url(identity, cluster_domain),
        names.ENV_CREDENTIALS_DIR: names.PATH_CREDENTIALS,
        names.ENV_INIT_DIR: names.PATH_INIT,
        names.ENV_TERMINATION_LOG: names.PATH_TERMINATION_LOG,
    }


def _additions(training: PodAdditions | None, hub: PodAdditions | None) -> PodAdditions:
    """Those of training pods, but for where they run; an image of the hub's needs the hub's pull Secrets, too."""
    given = [name for each in (training, hub) if each for name in each.image_pull_secrets or ()]
    changed = {"node_selector": None, "tolerations": None, "image_pull_secrets": list(dict.fromkeys(given))}
    return (training or PodAdditions()).model_copy(update=changed)


_IMPORT = Mount("import", {"emptyDir": {}}, names.PATH_IMPORT)


def _fetching(given: InitialModel, hub: HubImage) -> PodParts | None:
    """The container that fetches the file; none where it is in the task's image."""
    if given.uri.startswith("/"):
        return None
    secret = given.credentials_secret_ref
    env = {
        names.ENV_IMPORT_URI: given.uri,
        names.ENV_IMPORT_SHA256: given.sha256,
        names.ENV_IMPORT_FILE: f"{names.PATH_IMPORT}/{names.IMPORT_FILE}",
        names.ENV_TERMINATION_LOG: names.PATH_TERMINATION_LOG,
    }
    mounts: tuple[Mount, ...] = (_IMPORT,)
    if secret is not None:
        env[names.ENV_STORE_CREDENTIALS_DIR] = names.PATH_STORE_CREDENTIALS
        source = secret_source(secret.name)
        mounts += (Mount("import-credentials", source, names.PATH_STORE_CREDENTIALS, read_only=True),)
    return PodParts(
        labels={},
        container=FETCH_CONTAINER,
        image=hub.image,
        pull_policy=hub.pull_policy,
        command=names.FETCH_COMMAND,
        env=env,
        mounts=mounts,
        resources=HANDIN_RESOURCES,
    )


def _given_environment(given: InitialModel) -> dict[str, str]:
    """What the task's container is told of the file; with `file:` the embedded runner leaves the path as it is."""
    fetched = f"{names.PATH_IMPORT}/{names.IMPORT_FILE}"
    there = f"file:{given.uri}" if given.uri.startswith("/") else fetched
    return {names.ENV_IMPORT_FILE: there, names.ENV_IMPORT_SHA256: given.sha256}


def _told(spec: FederatedJobSpec) -> dict[str, str]:
    """Which tensors travel, which stay at the sites, and which sub-models there are, where the job says so: the initial model says it."""
    said = {
        names.ENV_EXCHANGE: spec.training.exchange,
        names.ENV_LOCAL_PARAMETERS: spec.training.local_parameters,
        names.ENV_WIDTHS: spec.clients.widths,
    }
    return {name: json.dumps(values) for name, values in said.items() if values}


def init_job(spec_job: FederatedJob, hub: HubImage, cluster_domain: str, keys: str = "") -> Json:
    """The Job that makes round 0's model. The aggregator's placement applies, the training resources do not: no GPU."""
    identity, spec = Identity.of(spec_job, keys), spec_job.spec
    place, patch = spec.aggregator.pod_template, spec.training.pod_template
    made = Mount("init", {"emptyDir": {}}, names.PATH_INIT)
    secret = Mount("credentials", secret_source(identity.init_secret), names.PATH_CREDENTIALS, read_only=True)
    given = spec.task.initial_model
    fetching = _fetching(given, hub) if given else None
    making = PodParts(
        labels={},
        container=TRAINER_CONTAINER,
        image=spec.task.image,
        pull_policy=spec.task.image_pull_policy,
        args=("init",),
        env=task_environment(spec_job)
        | {names.ENV_INIT_DIR: names.PATH_INIT}
        | _told(spec)
        | (_given_environment(given) if given else {}),
        user_env=patch.variables() if patch else {},
        mounts=(made, replace(_IMPORT, read_only=True)) if fetching else (made,),
        resources=resources(DEFAULT_RESOURCES, spec.aggregator.resources),
    )
    handing_in = PodParts(
        labels=identity.labels(names.ROLE_INIT),
        container=HANDIN_CONTAINER,
        image=hub.image,
        pull_policy=hub.pull_policy,
        command=names.HANDIN_COMMAND,
        env=_environment(identity, cluster_domain),
        mounts=(replace(made, read_only=True), secret),
        resources=HANDIN_RESOURCES,
        node_selector=(place.node_selector if place else None) or {},
        tolerations=tuple(t.dump() for t in (place.tolerations if place else None) or ()),
        patch=_additions(patch, place),
        priority_class=spec.priority_class_name,
    )
    pod = template(handing_in, first=making)
    made_spec = job_spec(preceded(fetching, pod) if fetching else pod, INIT_BACKOFF, container=None)
    return job(identity, names.ROLE_INIT, names.init_job_name(identity.name, spec_hash(made_spec)), made_spec)
