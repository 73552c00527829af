"""Gives disk back: images, build caches, registry, and the image stores of clusters that are down.

The built programs stay (8 minutes to make); delete the cache's `tools` folder by hand if need be.
Called by the command line.
"""

import shutil
from pathlib import Path

from tests.cluster import state
from tests.cluster.errors import CannotRunError
from tests.cluster.lifecycle import unmount
from tests.cluster.paths import cache_root, dirs, run_root
from tests.cluster.shell import say


def prune() -> None:
    root = cache_root()
    up = [path.name for path in run_root().glob("*") if (path / "state.json").exists()]
    full = [name for name in up if (known := state.read(dirs(name))) and not known.api_only]
    if full:
        raise CannotRunError(f"clusters are up: {', '.join(full)}; `python3 -m tests.cluster down --name NAME` first")
    with state.locked("images"):
        for each in ("buildah", "registry", "images", "base", "containerd", "push", "tmp"):
            unmount(root / each)
            _remove(root / each)
    say(f"{root} holds now only tools and logs")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
