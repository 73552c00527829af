"""Is a pod waiting for a volume or a Secret that may be gone? Pure; asked by reconcile.py in every pass.

The operator cannot read Secrets, so it learns that one was deleted by hand only from a pod that does not start.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

PATIENCE_S = 20.0  # mounts of a healthy pod are done by then
RECHECK_S = 60.0  # between two attempts to bring Secrets back

_CONFIG_ERRORS = ("CreateContainerConfigError", "CreateContainerError")


def stuck_for_s(pods: Iterable[Mapping[str, Any]], now: datetime) -> float | None:
    """Seconds for which the longest waiting pod has had a node but no mounts or configuration; None: no pod waits."""
    waits = [(now - since).total_seconds() for pod in pods if (since := _waiting_since(pod)) is not None]
    return max(waits, default=None)


def _waiting_since(pod: Mapping[str, Any]) -> datetime | None:
    status = pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    placed = conditions.get("PodScheduled") or {}
    if status.get("phase", "Pending") != "Pending" or placed.get("status") != "True":
        return None
    if "deletionTimestamp" in pod["metadata"]:
        return None
    reasons = {
        ((container.get("state") or {}).get("waiting") or {}).get("reason")
        for container in status.get("containerStatuses") or ()
    }
    # The sandbox is made after the mounts: where it stands, a container that is being created pulls its image.
    mounted = (conditions.get("PodReadyToStartContainers") or {}).get("status") == "True"
    if reasons.intersection(_CONFIG_ERRORS) or ("ContainerCreating" in reasons and not mounted):
        return datetime.fromisoformat(placed["lastTransitionTime"])
    return None
