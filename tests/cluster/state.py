"""What is written down about a cluster so that another process, or the next boot, can find or end it.

One small JSON file per cluster, written before anything is made. Also the locks: one per cluster
around `up` and `down`, one for all while an address range is chosen.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.addresses import VETH, Addresses, free_index
from tests.cluster.paths import Dirs, cache_root, run_root


@dataclass(frozen=True)
class State:
    server: str
    index: int | None  # address range of a full cluster, None for an API-only one

    @property
    def api_only(self) -> bool:
        return self.index is None

    @property
    def addresses(self) -> Addresses | None:
        return None if self.index is None else Addresses(self.index)


def read(dirs: Dirs) -> State | None:
    try:
        return State(**json.loads(dirs.state.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(dirs: Dirs, state: State) -> None:
    dirs.run.mkdir(parents=True, exist_ok=True)
    part = dirs.state.with_suffix(".part")
    part.write_text(json.dumps(asdict(state)))
    part.replace(dirs.state)


def _index(state: Path) -> int | None:
    """Of another cluster, which may end meanwhile."""
    try:
        found: int | None = json.loads(state.read_text())["index"]
    except FileNotFoundError:
        return None
    return found


def allocate(dirs: Dirs) -> Addresses:
    """A free address range, taken by the time this returns."""
    with locked("addresses"):
        others = map(_index, (path for path in run_root().glob("*/state.json") if path != dirs.state))
        taken = {index for index in others if index is not None}
        devices = Path("/sys/class/net").glob(f"{VETH}*")  # clusters of another cache root
        taken |= {int(number) for each in devices if (number := each.name.removeprefix(VETH)).isdigit()}
        addresses = Addresses(free_index(taken))
        write(dirs, State(f"https://{addresses.node_ip}:6443", addresses.index))
    return addresses


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Waits until no other process of this machine holds the name."""
    folder = cache_root() / "lock"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
