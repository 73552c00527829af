"""The aggregator's Deployment and Service, and the address under which sites find it.

One replica, Recreate: a store's volume is ReadWriteOnce, and two aggregators would only fight over HEAD's epoch.
"""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.podfields import Resources
from fedapi.crd.storage import Bucket
from fedapi.jsonvalue import Json
from fedoperator.desired import confidential, queues, store_place
from fedoperator.desired.difference import quantity
from fedoperator.desired.identity import Identity
from fedoperator.desired.pod import Mount, PodParts, resources, secret_source, template

CONTAINER = "aggregator"
DEFAULT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"})
MEMORY_LIMIT = "1Gi"  # it needs about 100 MiB, whatever the model: the fold goes by blocks, transfers by chunks
PORT_NAME, MONITORING = "https", "monitoring"  # names of its ports


def hosts(identity: Identity, cluster_domain: str) -> tuple[str, ...]:
    """DNS names of the Service: what the server certificate is made out to, shortest first."""
    name = identity.aggregator
    local = f"{name}.{identity.namespace}"
    return name, local, f"{local}.svc", f"{local}.svc.{cluster_domain}"


def url(identity: Identity, cluster_domain: str) -> str:
    """The aggregator's base URL as sites use it."""
    return f"https://{hosts(identity, cluster_domain)[-1]}:{names.AGGREGATOR_PORT}"


def selector(identity: Identity) -> dict[str, str]:
    """Labels of the aggregator's pod. The uid keeps a recreated job's Service off its predecessor's dying pod."""
    labels = identity.labels(names.ROLE_AGGREGATOR)
    return {key: labels[key] for key in (names.LABEL_JOB, names.LABEL_JOB_UID, names.LABEL_ROLE)}


def service(identity: Identity) -> Json:
    """The Service in front of the aggregator."""
    numbers = {PORT_NAME: names.AGGREGATOR_PORT, MONITORING: names.AGGREGATOR_MONITORING_PORT}
    ports = [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in numbers.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "spec": {"type": "ClusterIP", "selector": selector(identity), "ports": ports},
    }


def _mounts(identity: Identity, bucket: Bucket | None) -> tuple[Mount, ...]:
    return (
        Mount("config", {"configMap": {"name": identity.aggregator}}, names.PATH_CONFIG, read_only=True),
        Mount("credentials", secret_source(identity.secret), names.PATH_CREDENTIALS, read_only=True),
        *store_place.mounts(store_place.STORE, bucket, identity.claim),
    )


def _environment(identity: Identity, public_url: str) -> dict[str, str]:
    return {
        names.ENV_JOB: identity.name,
        names.ENV_NAMESPACE: identity.namespace,
        names.ENV_JOB_UID: identity.uid,
        names.ENV_CONFIG_FILE: f"{names.PATH_CONFIG}/{names.CONFIG_FILE}",
        names.ENV_CREDENTIALS_DIR: names.PATH_CREDENTIALS,
        names.ENV_HOST: "::",  # every address of the pod, IPv6 and IPv4; NetworkPolicy and TLS guard it
        names.ENV_PORT: str(names.AGGREGATOR_PORT),
        names.ENV_MONITORING_PORT: str(names.AGGREGATOR_MONITORING_PORT),
        names.ENV_PUBLIC_URL: public_url,
        names.ENV_STATUS: "kubernetes",
        names.ENV_TERMINATION_LOG: names.PATH_TERMINATION_LOG,
    }


def _probe(path: str, period_s: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": MONITORING, "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


_CONTAINER_EXTRA: Json = {
    "ports": [
        {"name": PORT_NAME, "containerPort": names.AGGREGATOR_PORT, "protocol": "TCP"},
        {"name": MONITORING, "containerPort": names.AGGREGATOR_MONITORING_PORT, "protocol": "TCP"},
    ],
    "readinessProbe": _probe("/readyz", 1, 3),
    "livenessProbe": _probe("/healthz", 10, 6),
}


def limited(wanted: Json) -> Json:
    """Compute resources with a memory limit: what the user set, else the default, or the request if that is more."""
    limits, requested = wanted.get("limits", {}), wanted.get("requests", {}).get("memory", "0")
    memory = limits.get("memory") or max(MEMORY_LIMIT, requested, key=quantity)
    return wanted | {"limits": limits | {"memory": memory}}


def deployment(
    job: FederatedJob, image: str, pull_policy: str, cluster_domain: str, replicas: int, keys: str = ""
) -> Json:
    """The aggregator's Deployment. `replicas` 0: suspended or finished; the whole object is applied all the same."""
    identity, spec, bucket = Identity.of(job, keys), job.spec.aggregator, job.spec.storage.bucket
    patch = spec.pod_template
    tee, compute = spec.confidential, limited(resources(DEFAULT_RESOURCES, spec.resources))
    account = {"serviceAccountName": identity.aggregator, "terminationGracePeriodSeconds": 30}
    parts = PodParts(
        labels=identity.labels(names.ROLE_AGGREGATOR) | store_place.pod_labels((bucket,)),
        container=CONTAINER,
        image=image,
        command=names.AGGREGATOR_COMMAND,
        pull_policy=pull_policy,
        env=_environment(identity, url(identity, cluster_domain))
        | store_place.environment(store_place.STORE, bucket)
        | queues.hub_environment(job.spec)
        | confidential.hub_environment(tee),
        user_env=patch.variables() if patch else {},
        mounts=(*_mounts(identity, bucket), *queues.hub_mounts(job.spec), *confidential.mounts(tee)),
        resources=compute | {"limits": compute["limits"] | confidential.devices(tee)},
        patch=patch,
        node_selector=confidential.node_selector(tee),
        annotations=confidential.annotations(tee),
        priority_class=job.spec.priority_class_name,
        container_extra=_CONTAINER_EXTRA,
        spec_extra=account | confidential.pod_spec(tee) | store_place.affinity(job.spec),
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(identity)},
            "template": template(parts),
        },
    }


def for_account(made: Json, account_uid: str) -> Json:
    """The Deployment for a ServiceAccount that was deleted and made anew: another template, so another pod and token."""
    if not account_uid:
        return made
    template = made["spec"]["template"]
    annotations = template["metadata"].get("annotations", {}) | {names.ANNOTATION_ACCOUNT: account_uid}
    template = template | {"metadata": template["metadata"] | {"annotations": annotations}}
    return made | {"spec": made["spec"] | {"template": template}}
