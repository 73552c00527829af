"""What tests import: a cluster as a value with a kubeconfig.

    @pytest.fixture(scope="session")
    def api() -> Iterator[Cluster]:
        cluster = Cluster.up("it", api_only=True, fresh=True)
        yield cluster
        cluster.down()

Nothing is decided here; `lifecycle` and `images` do the work.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, lifecycle, state
from tests.cluster.addresses import HOST_IP
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Dirs, dirs
from tests.cluster.shell import run
from tests.cluster.tools import binary


@dataclass(frozen=True)
class Cluster:
    name: str
    server: str
    api_only: bool
    node_ip: str  # Services' NodePorts answer here, from the host and from other clusters
    host_ip: str  # where pods reach a server that a test runs on the host (bind it to 0.0.0.0)
    dirs: Dirs

    @classmethod
    def up(
        cls,
        name: str = "fedloom",
        *,
        api_only: bool = False,
        controllers: bool = False,
        fresh: bool = False,
        images_of: str = "",
    ) -> "Cluster":
        """Starts the cluster, or finds it running; `fresh` ends a running one first.

        With the name of another full cluster in `images_of` it begins with that one's images.

        Raises CannotRunError where this machine cannot; its one line says what is missing.
        """
        if fresh:
            lifecycle.down(name)
        lifecycle.up(name, api_only=api_only, controllers=controllers, images_of=images_of)
        return cls.running(name)

    @classmethod
    def running(cls, name: str = "fedloom") -> "Cluster":
        """A cluster that is up already."""
        where = dirs(name)
        known = state.read(where)
        if known is None:
            raise ClusterError(f"no cluster {name!r}; run `python3 -m tests.cluster up --name {name}`")
        if known.addresses is None:
            return cls(name, known.server, api_only=True, node_ip="127.0.0.1", host_ip="127.0.0.1", dirs=where)
        return cls(name, known.server, api_only=False, node_ip=known.addresses.node_ip, host_ip=HOST_IP, dirs=where)

    @property
    def kubeconfig(self) -> Path:
        return self.dirs.kubeconfig

    @property
    def audit_log(self) -> Path:
        """JSON lines, one per write: user.username, userAgent, verb, objectRef, requestReceivedTimestamp."""
        return self.dirs.audit_log

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """kubectl's stdout; raises ClusterError with its stderr."""
        return run(binary("kubectl"), f"--kubeconfig={self.kubeconfig}", *words, stdin=stdin)

    def helm(self, *words: str) -> str:
        return run(binary("helm"), f"--kubeconfig={self.kubeconfig}", *words)

    def build(self, context: Path, tag: str, below: str = "trainer") -> None:
        """Builds a folder's Dockerfile as localhost/NAME:TAG, such as a task FROM localhost/fedloom-trainer:dev."""
        images.build_context(self.name, context, tag, below)

    def pretend_tpu(self, kind: str, topology: str, chips: int) -> None:
        """Gives the node the labels and the google.com/tpu capacity of a GKE node with that slice.

        Only scheduling believes it: a container that asks for chips starts and finds no device. Another call changes
        labels; the capacity stays until `down`. The kubelet, which knows no such resource, leaves it alone.
        """
        labels = {"cloud.google.com/gke-tpu-accelerator": kind, "cloud.google.com/gke-tpu-topology": topology}
        patch = json.dumps({"metadata": {"labels": labels}})
        self.kubectl("patch", "node", self.name, "--type=merge", f"--patch={patch}")
        amount = {"google.com/tpu": str(chips)}
        patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
        self.kubectl("patch", "node", self.name, "--subresource=status", "--type=merge", f"--patch={patch}")

    def down(self, *, images: bool = False) -> None:
        """Ends it; `images`: forgets its images, too."""
        lifecycle.down(self.name, images=images)
