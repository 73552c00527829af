"""Gives a new cluster the unpacked images of another one as hard links: seconds, and no disk.

Called by `lifecycle` before the new cluster's containerd starts. Layers never change once they are unpacked; the two
small databases that name them are copied, while the other cluster's containerd, where it runs, stands still, so that both
are of one moment. What that cluster's containers write is left out.
"""

import re
import shutil
from pathlib import Path

from tests.cluster import processes
from tests.cluster.errors import CannotRunError, ClusterError
from tests.cluster.paths import Dirs
from tests.cluster.shell import attempt

_LAYERS = "io.containerd.snapshotter.v1.overlayfs"
_COPIED = (
    "io.containerd.metadata.v1.bolt",
    "io.containerd.content.v1.content",
)  # manifests: layers are not kept packed
_UPPER = re.compile(r"upperdir=([^,\s]+)/fs\b")


def link(source: Dirs, target: Dirs) -> None:
    """Replaces the images of `target`, which is down. The caller holds the lock of `source`: it pulls nothing meanwhile."""
    if not (source.images / _LAYERS).is_dir():
        raise CannotRunError(f"cluster {source.name} has no images: it was never up")
    attempt("rm", "-rf", target.images)
    into = target.images / _LAYERS / "snapshots"
    into.mkdir(parents=True)
    with processes.paused(source.pids, "containerd"):
        for folder in _COPIED:
            shutil.copytree(source.images / folder, target.images / folder, ignore=shutil.ignore_patterns("ingest"))
        shutil.copy2(source.images / _LAYERS / "metadata.db", target.images / _LAYERS)
        written = _written()
        layers = [layer for layer in (source.images / _LAYERS / "snapshots").iterdir() if str(layer) not in written]
    whole = attempt("cp", "-al", *layers, f"{into}/")
    gone = [layer for layer in layers if not layer.exists()]  # of containers that ended meanwhile
    if not whole and not gone:
        raise ClusterError(
            f"the images of {source.name} cannot be linked into {target.images}: is it another file system?"
        )
    for layer in gone:
        shutil.rmtree(into / layer.name, ignore_errors=True)


def _written() -> set[str]:
    """Layers on top of an overlay that is mounted: what containers write."""
    return set(_UPPER.findall(Path("/proc/self/mounts").read_text()))
