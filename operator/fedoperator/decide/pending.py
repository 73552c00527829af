"""Policy: pods that do not start. Tells a broken image from missing capacity, and names what is missing.

An image error of the aggregator or the init Job that lasts longer than spec.pendingDeadline ends a job that has no
model yet; missing capacity keeps waiting and says so.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from fedapi.duration import seconds
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import PodView

MOUNT_GRACE = timedelta(seconds=60)  # mounting and pulling take a while; only then is it worth a word
_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CREATING = frozenset({"ContainerCreating", "PodInitializing"})  # the second where there are init containers
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]*\w)")
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)', re.IGNORECASE)


def since(pod: PodView) -> datetime:
    """When the pod began to wait: with a node, from then on; without, from its creation."""
    return pod.scheduled or pod.created


def deadline(context: JobContext) -> timedelta:
    """spec.pendingDeadline."""
    return timedelta(seconds=seconds(context.spec.pending_deadline))


def _waits(pod: PodView) -> bool:
    return pod.phase == "Pending" and not pod.deleting


def _scheduling(message: str) -> tuple[Reason, str]:
    claim = _CLAIM.search(message)
    if claim:
        return Reason.VOLUME_MISSING, f"PersistentVolumeClaim {claim[1]} {claim[2]}: create it, or correct its name"
    if "unbound" in message and "PersistentVolumeClaim" in message:
        return Reason.VOLUME_MISSING, "a PersistentVolumeClaim is not bound: look at its events and its storage class"
    missing = sorted(set(_INSUFFICIENT.findall(message)))
    if missing:
        return Reason.UNSCHEDULABLE, f"no node has enough {', '.join(missing)}: waiting for capacity"
    return Reason.UNSCHEDULABLE, f"no node fits: {message.split('. ', maxsplit=1)[0]}" if message else "no node fits"


def _started(context: JobContext, pod: PodView) -> tuple[Reason, str] | None:
    reason, message = pod.waiting
    if reason in _IMAGE:
        return Reason.IMAGE_ERROR, f"{reason}: {message}" if message else reason
    if reason in _CONFIG:
        return Reason.CONFIG_ERROR, f"{reason}: {message}" if message else reason
    if pod.scheduled and context.now >= pod.scheduled + MOUNT_GRACE:
        mounts = ", ".join(pod.sources) or "none"
        return Reason.MOUNT_PENDING, f"its volumes are not mounted or its image is still pulled; it mounts {mounts}"
    return None


def lacks_source(pod: PodView) -> bool:
    """Whether a pod that has a node waits for its mounts or its configuration: what it mounts may be gone."""
    reason = pod.waiting[0]
    creating = reason in _CREATING and not pod.sandboxed  # with a sandbox it pulls its image
    return _waits(pod) and pod.scheduled is not None and (reason in _CONFIG or creating)


def trouble(context: JobContext, pod: PodView) -> Trouble | None:
    """Why a pod does not start, or None when it runs or may still start by itself."""
    if not _waits(pod):
        return None
    found = _scheduling(pod.scheduling[1]) if pod.scheduling[0] else _started(context, pod)
    if found is None:
        return None
    reason, message = found
    overdue = context.now >= since(pod) + deadline(context)
    return Trouble(reason, clipped(f"pod {pod.name}: {message}"), overdue, fatal=reason == Reason.IMAGE_ERROR)


def due(context: JobContext) -> Iterator[datetime]:
    """When a waiting pod is looked at again by the clock alone."""
    for pod in filter(_waits, (pod for pods in context.pods.values() for pod in pods)):
        yield since(pod) + deadline(context)
        if pod.scheduled:
            yield pod.scheduled + MOUNT_GRACE
