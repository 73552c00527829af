"""The local image registry: one store in the cache, served to each node on its own loopback.

`images` starts it for a moment to push into it; `node` keeps one running per cluster to pull from.
Only layers that the other side lacks travel, which is the reason for it.
"""

from pathlib import Path

from tests.cluster import processes
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Dirs, cache_root

_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""


def store() -> Path:
    return cache_root() / "registry"


def start(dirs: Dirs, address: str, *, netns: str | None) -> None:
    store().mkdir(parents=True, exist_ok=True)
    dirs.etc.mkdir(parents=True, exist_ok=True)
    config = dirs.etc / "registry.yaml"
    config.write_text(_CONFIG.format(store=store(), address=address))
    command: processes.Command = ["docker-registry", "serve", config]
    processes.start("registry", command, pids=dirs.pids, log=dirs.log, netns=netns)
    port, log = int(address.rpartition(":")[2]), dirs.log / "registry.log"

    def ready() -> bool:
        if not processes.alive(dirs.pids, "registry"):
            raise ClusterError(f"the image registry does not serve {address}; read {log}")
        return processes.listens(dirs.pids, "registry", port)

    processes.wait_until("the image registry", ready, timeout_s=300, log=log)


def digest(tag: str) -> str | None:
    """sha256:… of the manifest that a tag such as localhost/fedloom-operator:dev names, None without it."""
    repository, _, version = tag.removeprefix("localhost/").rpartition(":")
    link = store() / "docker/registry/v2/repositories" / repository / "_manifests/tags" / version / "current/link"
    try:
        return link.read_text().strip()
    except OSError:
        return None
