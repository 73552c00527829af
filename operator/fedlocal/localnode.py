"""This machine as the node that pods run on: address, port, search path, and the environment of a process.

Made by runner.py, used by kubelet.py.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedapi import names
from fedlocal import mounts

Body = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """What is the same for all pods of a run."""

    places: mounts.Places
    port: int  # of the aggregator
    overrides: Mapping[str, str]  # environment that stands in for cluster addresses

    @classmethod
    def of(cls, places: mounts.Places) -> "Node":
        """With a free port."""
        port = _free_port()
        url = f"https://127.0.0.1:{port}"
        overrides = {
            names.ENV_HOST: "127.0.0.1",
            names.ENV_PORT: str(port),
            names.ENV_PUBLIC_URL: url,
            names.ENV_AGGREGATOR_URL: url,
            names.ENV_STATUS: f"file:{places.state.aggregator_status}",
        }
        return cls(places, port, overrides)

    def inherited(self) -> dict[str, str]:
        """What every process gets from the runner: its environment, and the user's folder to import the task from.

        Of Fedloom's own variables only those that a manifest may set too, for example FEDLOOM_THREADS.
        """
        own = {n: v for n, v in os.environ.items() if not n.startswith("FEDLOOM_") or n in names.TUNABLE}
        return own | {"PYTHONPATH": self._search_path(), "PYTHONUNBUFFERED": "1"}

    def environment(self, pod: Body, root: Path) -> dict[str, str]:
        """The whole environment of a pod's process."""
        wanted = mounts.environment(pod, root)
        return self.inherited() | wanted | {name: value for name, value in self.overrides.items() if name in wanted}

    def _search_path(self) -> str:
        """The user's folder first, then the runner's own search path, absolute because processes start elsewhere."""
        given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        product = Path(names.__file__).resolve().parents[1]
        paths = [str(self.places.manifests), *given, str(product)]
        return os.pathsep.join(dict.fromkeys(str(Path(path).absolute()) for path in paths))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
