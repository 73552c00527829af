"""Makes a node hold the registry's newest image under a tag, so that IfNotPresent finds it.

The kubelet does the pull, through a short-lived pod with `imagePullPolicy: Always`: only missing layers
travel and are unpacked once. Called by `images` after a build and by `lifecycle` when a cluster comes up.
"""

import hashlib
from typing import Any

from tests.cluster import containerd, processes, registry, state
from tests.cluster.client import Client
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Dirs, dirs
from tests.cluster.shell import say

_PODS = "/api/v1/namespaces/kube-system/pods"
_WAITS = {"ContainerCreating", "PodInitializing"}


def ensure(name: str, tags: list[str]) -> None:
    """Pulls those of the tags whose digest the node lacks, after an `up` that is under way.

    A cluster that is down pulls when it comes up.
    """
    where = dirs(name)
    with state.locked(name):
        known = state.read(where)
        if known is None or known.api_only or not processes.alive(where.pids, "kubelet"):
            say(f"cluster {name} is not up; it will pull at first use")
            return
        lacking = [tag for tag in tags if _held(where).get(tag) != registry.digest(tag)]
        _pull(where, Client(known.server, where.pki), lacking)


def refresh(where: Dirs, client: Client) -> None:
    """At `up`: brings tags that the node kept from last time to what the registry has now."""
    _pull(where, client, [tag for tag, held in _held(where).items() if registry.digest(tag) not in {None, held}])


def _held(where: Dirs) -> dict[str, str]:
    """tag -> digest of the node's images."""
    rows = [row.split() for row in containerd.ctr(where, "images", "ls")]
    return {row[0]: row[2] for row in rows if row[0].startswith("localhost/") and "@" not in row[0]}


def _pull(where: Dirs, client: Client, tags: list[str]) -> None:
    pods = {f"pull-{hashlib.sha256(tag.encode()).hexdigest()[:8]}": tag for tag in tags}
    if not pods:
        return
    say(f"{where.name} pulls {', '.join(tags)}")
    for pod in pods:
        _delete(client, pod)
    for pod, tag in pods.items():
        client.apply(_PODS, _pod(pod, tag))
    for pod, tag in pods.items():

        def pulled(pod: str = pod, tag: str = tag) -> bool:
            return _pulled(client.get(f"{_PODS}/{pod}"), tag)

        processes.wait_until(f"the pull of {tag}", pulled, timeout_s=900, log=where.log / "containerd.log")
        _delete(client, pod)


def _delete(client: Client, pod: str) -> None:
    try:
        client.request("DELETE", f"{_PODS}/{pod}?gracePeriodSeconds=0")
    except ClusterError as error:
        if "404" not in str(error):
            raise


def _pod(name: str, tag: str) -> dict[str, Any]:
    container = {"name": "pull", "image": tag, "imagePullPolicy": "Always", "command": ["/bin/true"]}
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _pulled(pod: dict[str, Any], tag: str) -> bool:
    """Whatever becomes of the container afterwards: once it has a reason other than waiting, the image is there."""
    for status in pod["status"].get("containerStatuses", []):
        reason = status["state"].get("waiting", {}).get("reason")
        if reason in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName"}:
            raise ClusterError(f"{tag}: {status['state']['waiting'].get('message', reason)}")
        return reason not in _WAITS
    return False
