"""Where training pods may run: device limits, node labels and taints of accelerators and of spot machines. Pure.

Called by training_job.py. The names are those of the providers' device plugins and node labels; docs/pools.md lists
them. What a site asks for itself (pool.nodeSelector, pool.tolerations) comes on top and wins.
"""

from collections.abc import Mapping

from fedapi.crd.flclient import FLClientSpec, Pool
from fedapi.crd.tpu import counts
from fedapi.jsonvalue import Json
from fedoperator.desired.pool import Shape

TPU_RESOURCE = "google.com/tpu"

# Device plugins with several resource names, whose nodes are tainted with one of them.
_TAINTS: Mapping[str, str] = {
    "nvidia.com/": "nvidia.com/gpu",  # MIG too
    "aws.amazon.com/": "aws.amazon.com/neuron",  # neuron, neuroncore, neurondevice
}
_SPOT_LABELS: Mapping[str, tuple[str, str]] = {
    "AWS": ("eks.amazonaws.com/capacityType", "SPOT"),
    "GCP": ("cloud.google.com/gke-spot", "true"),
    "Azure": ("kubernetes.azure.com/scalesetpriority", "spot"),
}
_SPOT_TAINTED = frozenset({"GCP", "Azure"})  # there the label is a taint too; EKS taints no spot machines


def device_limits(pool: Pool, shape: Shape) -> dict[str, str]:
    """Devices of a pod. As limits: the API server copies them into requests."""
    if pool.tpu is not None:
        return {TPU_RESOURCE: str(shape.count)}
    return {pool.resource_name: str(shape.count)} if pool.resource_name else {}


def node_selector(site: FLClientSpec, shape: Shape) -> dict[str, str]:
    """Node labels that the pods ask for."""
    return _slice(site.pool, shape) | _spot_label(site) | dict(site.pool.node_selector or {})


def tolerations(site: FLClientSpec) -> tuple[Json, ...]:
    """Taints that the pods accept, the site's own first."""
    own = [toleration.dump() for toleration in site.pool.tolerations or ()]
    return *own, *(taint for taint in (*_device_taints(site.pool), *_spot_taints(site)) if taint not in own)


def _slice(pool: Pool, shape: Shape) -> dict[str, str]:
    if pool.tpu is None:
        return {}
    labels = {
        "cloud.google.com/gke-tpu-accelerator": pool.tpu.type,
        "cloud.google.com/gke-tpu-topology": pool.tpu.topology,
    }
    if len(counts(pool.tpu.type, pool.tpu.topology)) > 1:  # machines of two sizes form such a slice
        labels["cloud.google.com/gke-accelerator-count"] = str(shape.count)
    return labels


def _device_taints(pool: Pool) -> list[Json]:
    resource = TPU_RESOURCE if pool.tpu is not None else pool.resource_name
    if not resource:
        return []
    key = next((taint for prefix, taint in _TAINTS.items() if resource.startswith(prefix)), resource)
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"}]


def _spot_label(site: FLClientSpec) -> dict[str, str]:
    return dict([_SPOT_LABELS[site.provider]]) if site.pool.spot and site.provider in _SPOT_LABELS else {}


def _spot_taints(site: FLClientSpec) -> list[Json]:
    labels = _spot_label(site) if site.provider in _SPOT_TAINTED else {}
    return [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} for key, value in labels.items()]
