"""`up` and `down`: the order in which a cluster comes and goes.

Called by the command line and by `api`. `up` on a healthy cluster does nothing; on anything else it
first does `down`, which works after any crash because it goes by records, cgroup and namespace.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from tests.cluster import (
    cgroups,
    containerd,
    controlplane,
    defaults,
    image_links,
    network,
    node,
    processes,
    pulls,
    state,
    tools,
)
from tests.cluster.client import Client
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Dirs, dirs
from tests.cluster.pki import COMPONENTS
from tests.cluster.shell import attempt, say

_PATIENCE_S = 120.0
_FULL = (
    "registry", "containerd", "etcd", "apiserver", "controller-manager", "scheduler",
    "kubelet", "kube-proxy", "coredns", "volumes",
)  # fmt: skip


def up(name: str, *, api_only: bool = False, controllers: bool = False, images_of: str = "") -> Dirs:
    """`images_of`: another full cluster, whose images it begins with."""
    where = dirs(name)
    tools.check(api_only=api_only)
    with state.locked(name):
        if healthy(where, api_only=api_only, controllers=controllers):
            return where
        _end(where)
        if images_of and not api_only:
            with state.locked(images_of):
                image_links.link(dirs(images_of), where)
        try:
            if api_only:
                _api(where, controllers=controllers)
            else:
                _full(where)
        except ClusterError:
            say(f"the cluster did not come up; its logs are in {where.log}")
            raise
    return where


def healthy(where: Dirs, *, api_only: bool, controllers: bool) -> bool:
    known = state.read(where)
    if known is None or known.api_only != api_only:
        return False
    expected = ("etcd", "apiserver", *(("controller-manager",) if controllers else ())) if api_only else _FULL
    if not all(processes.alive(where.pids, each) for each in expected):
        return False
    # a busy machine's is not ready now and then, and ending it would end what others do there
    return Client(known.server, where.pki).answers("/readyz", _PATIENCE_S)


def status(name: str) -> str:
    """One line about a cluster that is up; raises ClusterError when it is not, or not wholly."""
    where = dirs(name)
    known = state.read(where)
    if known is None:
        raise ClusterError(f"cluster {name} is not up")
    if ended := [each for each in processes.names(where.pids) if not processes.alive(where.pids, each)]:
        raise ClusterError(f"cluster {name} is broken: {', '.join(ended)} ended; see {where.log}, then `up` again")
    if not Client(known.server, where.pki).answers("/readyz"):
        raise ClusterError(f"cluster {name} does not answer at {known.server}; see {where.log}")
    return f"cluster {name} is up at {known.server}"


def _api(where: Dirs, *, controllers: bool) -> None:
    plane = controlplane.on_loopback()
    state.write(where, state.State(plane.server, None))
    identities = ("admin", "controller-manager") if controllers else ("admin",)
    controlplane.make_identities(where, plane, identities)
    controlplane.start_api(where, plane, controllers=controllers)
    client = Client(plane.server, where.pki)
    controlplane.wait_ready(where, client)
    if controllers:
        controlplane.start_controllers(where, plane)
        controlplane.wait_controllers(where, client)


def _full(where: Dirs) -> None:
    addresses = state.allocate(where)
    netns = network.netns(where.name)
    plane = controlplane.in_netns(addresses, netns)
    client = Client(plane.server, where.pki)
    network.create(where.name, addresses)
    controlplane.make_identities(where, plane, tuple(COMPONENTS))
    controlplane.start_api(where, plane, controllers=True)
    containerd.start(where, addresses, netns)
    controlplane.wait_ready(where, client)
    controlplane.start_controllers(where, plane)
    controlplane.start_scheduler(where, plane)
    defaults.apply(client, addresses)
    node.start_kubelet(where, addresses, netns, plane.server)
    node.start_network(where, addresses, netns)
    defaults.start_provisioner(where, plane.server, netns)
    node.wait_ready(where, client)
    controlplane.wait_controllers(where, client)
    pulls.refresh(where, client)


def down(name: str, *, images: bool = False) -> None:
    """`images`: forgets its images, too."""
    where = dirs(name)
    with state.locked(name):
        _end(where)
        if images:
            attempt("rm", "-rf", where.images)  # a hundred thousand files, faster than Python does it


def _end(where: Dirs) -> None:
    """Ends whatever there is of a cluster, in the order in which nothing is brought back to life."""
    known = state.read(where)
    full = os.geteuid() == 0 and (known is None or not known.api_only)  # unknown: a crash, so look for everything
    netns = network.netns(where.name)
    watchers = [each for each in processes.names(where.pids) if each not in {"containerd", "apiserver", "etcd"}]
    processes.stop(where.pids, watchers, grace_s=5)
    if full:
        _end_pods(where, netns)
    # the API server would wait a minute for its watchers, and its data ends here anyhow
    processes.stop(where.pids, ["apiserver", "etcd"], grace_s=0)
    if full:
        unmount(where.run)
        if known and known.addresses:
            network.remove(where.name, known.addresses)
        else:
            attempt("ip", "netns", "del", netns)
        cgroups.remove(netns)
    if where.run.exists():
        shutil.rmtree(where.run)


def _end_pods(where: Dirs, netns: str) -> None:
    sockets = containerd.shim_sockets(where)
    for task in containerd.ctr(where, "tasks", "ls", "-q"):
        containerd.ctr(where, "tasks", "delete", "-f", task)
    if left := containerd.ctr(where, "containers", "ls", "-q"):
        containerd.ctr(where, "containers", "rm", *left)
    processes.stop(where.pids, ["containerd"], grace_s=5)
    processes.end_all(cgroups.pids(netns))  # pods, where containerd was gone already
    while others := processes.in_netns(netns):  # and everything else that this cluster started, or those still start
        processes.end_all(others)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    _forget(f"{where.run}/")


def _forget(folder: str) -> None:
    """The two places that CNI and the kubelet fill whatever they are told: entries that name this cluster.

    Another cluster's come and go meanwhile.
    """
    for result in Path("/var/lib/cni/results").glob("*"):
        with suppress(FileNotFoundError):
            if folder in result.read_text(errors="replace"):
                result.unlink()
    for link in Path("/var/log/containers").glob("*"):
        with suppress(FileNotFoundError):
            if link.is_symlink() and str(link.readlink()).startswith(folder):
                link.unlink()


def unmount(folder: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        attempt("umount", "-l", point.replace("\\040", " "))
