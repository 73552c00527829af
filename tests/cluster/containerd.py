"""The container runtime of one cluster, and what it reads: CNI network, image registry.

Called by `lifecycle`, `pulls`. Every path that it would share with other runtimes of the machine (runc's
root, network namespaces, state) is given per cluster; only its images outlive the cluster.
"""

import json
from pathlib import Path

from tests.cluster import node_image, processes, registry
from tests.cluster.addresses import REGISTRY, Addresses
from tests.cluster.paths import Dirs
from tests.cluster.shell import lines, run

_CONTAINERD = """\
version = 2
root = "{images}"
state = "{run}/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
]
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  # without CAP_SYS_RESOURCE every pod would fail with "can't get final child's PID from pipe"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{sandbox}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{etc}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{etc}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    # unpacked is enough: a second copy of torch, compressed, would cost 3 GB
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    Root = "{run}/runc"
"""


def start(dirs: Dirs, addresses: Addresses, netns: str) -> None:
    values = {"images": dirs.images, "run": dirs.run, "etc": dirs.etc, "sandbox": node_image.NAME}
    (dirs.etc / "containerd.toml").write_text(_CONTAINERD.format(**values))
    cni = dirs.etc / "cni" / "10-bridge.conflist"
    cni.parent.mkdir(parents=True, exist_ok=True)
    cni.write_text(json.dumps(_cni(dirs, addresses, netns)))
    # image names begin with localhost/: containerd looks for them in the node's own registry
    hosts = dirs.etc / "certs.d" / "localhost" / "hosts.toml"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(
        f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    registry.start(dirs, REGISTRY, netns=netns)
    _launch(dirs, netns)
    if left := ctr(dirs, "containers", "ls", "-q"):  # an unclean stop: forget its pods before a kubelet sees them
        run("ctr", "-a", dirs.containerd_sock, "-n", "k8s.io", "containers", "rm", *left)
        processes.stop(dirs.pids, ["containerd"], grace_s=5)
        _launch(dirs, netns)
    if node_image.NAME not in ctr(dirs, "images", "ls", "-q"):
        archive = node_image.archive()
        run("ctr", "-a", dirs.containerd_sock, "-n", "k8s.io", "images", "import", archive)


def ctr(dirs: Dirs, *words: str) -> list[str]:
    """The lines of a containerd command, none where containerd does not run (it would wait 10 s for it)."""
    if not processes.alive(dirs.pids, "containerd"):
        return []
    return lines(["ctr", "-a", dirs.containerd_sock, "-n", "k8s.io", *words])


def _launch(dirs: Dirs, netns: str) -> None:
    command: processes.Command = ["containerd", "-c", dirs.etc / "containerd.toml"]
    processes.start("containerd", command, pids=dirs.pids, log=dirs.log, netns=netns)

    def ready() -> bool:
        return dirs.containerd_sock.exists() and bool(ctr(dirs, "version"))

    processes.wait_until("containerd", ready, timeout_s=300, log=dirs.log / "containerd.log")


def _cni(dirs: Dirs, addresses: Addresses, netns: str) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(dirs.run / "cni"),
        "ranges": [[{"subnet": addresses.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": netns, "plugins": [bridge, portmap]}


def shim_sockets(dirs: Dirs) -> list[Path]:
    """Sockets of containerd's shims, which stay behind when a shim is killed."""
    found = (dirs.run / "containerd" / "io.containerd.runtime.v2.task").glob("*/*/address")
    return [Path(file.read_text().strip().removeprefix("unix://")) for file in found]
