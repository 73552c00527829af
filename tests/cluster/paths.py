"""Where the harness keeps things: one cache root, keyed by version, safe to delete.

Everything else asks here for a path. Nothing here creates processes or reads the network;
directories are made by whoever fills them.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import CannotRunError

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent

# A containerd socket path may not exceed 107 bytes, an interface name 15.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


def cache_root() -> Path:
    """$FEDLOOM_CACHE, else $XDG_CACHE_HOME/fedloom, else ~/.cache/fedloom."""
    if own := os.environ.get("FEDLOOM_CACHE"):
        return Path(own).absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "fedloom"
    return Path.home() / ".cache" / "fedloom"


@dataclass(frozen=True)
class Dirs:
    """The directories of one cluster. `images` outlives `down`; all the others end with the cluster."""

    name: str
    run: Path  # <cache>/run/NAME
    images: Path  # containerd's root: unpacked images, kept between `down` and `up`

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def log(self) -> Path:
        return self.run / "log"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def etc(self) -> Path:
        return self.run / "etc"

    @property
    def kubeconfig(self) -> Path:
        return self.run / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.log / "audit.jsonl"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def containerd_sock(self) -> Path:
        return self.run / "containerd.sock"


def run_root() -> Path:
    return cache_root() / "run"


def dirs(name: str) -> Dirs:
    if not _NAME.fullmatch(name):
        msg = f"cluster name {name!r}: use at most 20 of a-z, 0-9 and '-', starting with a letter"
        raise CannotRunError(msg)
    found = Dirs(name, run_root() / name, cache_root() / "containerd" / name)
    if len(str(found.containerd_sock)) > 100:
        msg = f"{found.run} is too long for a socket; set FEDLOOM_CACHE to a shorter path"
        raise CannotRunError(msg)
    return found
