"""This machine as the node that pods run on: address, port, search path, and the environment of a process.

Made by runner.py, used by kubelet.py.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal import mounts
from fedlocal.devices import Machine, stand_in
from fedoperator.decide.view import dig


@dataclass(frozen=True)
class Node:
    """What is the same for all pods of a run."""

    places: mounts.Places
    probe_port: int  # of the aggregator
    overrides: Mapping[str, str]  # environment that stands in for cluster addresses
    machine: Machine = field(default_factory=Machine)
    ring_ports: dict[str, int] = field(default_factory=dict)  # uid of a Job -> port of its ring's generations

    @classmethod
    def of(cls, places: mounts.Places, machine: Machine) -> "Node":
        """With free ports."""
        port, monitoring = _free_ports(2)
        url = f"https://127.0.0.1:{port}"
        overrides = {
            names.ENV_HOST: mounts.LOOPBACK,
            names.ENV_PORT: str(port),
            names.ENV_MONITORING_PORT: str(monitoring),
            names.ENV_PUBLIC_URL: url,
            names.ENV_AGGREGATOR_URL: url,
            names.ENV_STATUS: f"file:{places.state.aggregator_status}",
            names.ENV_RING_LEADER: mounts.LOOPBACK,
        }
        return cls(places, monitoring, overrides, machine)

    def inherited(self) -> dict[str, str]:
        """What every process gets from the runner: its environment, and the user's folder to import the task from, last.

        Of Fedloom's own variables only those that a manifest may set too, for example FEDLOOM_THREADS.
        """
        own = {n: v for n, v in os.environ.items() if not n.startswith("FEDLOOM_") or n in names.TUNABLE}
        own.pop(names.ENV_COMPLETION_INDEX, None)
        task = {names.ENV_TASK_PATH: str(self.places.manifests)}
        return own | {"PYTHONPATH": _search_path(), "PYTHONUNBUFFERED": "1"} | task

    def lacks(self, pod: Json) -> tuple[str, ...]:
        """What a training pod asks for and is replaced here, a sentence each."""
        return stand_in(self.inherited() | mounts.environment(pod, Path("/")), self.machine).notes

    def environment(self, pod: Json, root: Path) -> dict[str, str]:
        """The whole environment of a pod's process."""
        wanted = mounts.environment(pod, root)
        ours = {name: value for name, value in self.overrides.items() if name in wanted}
        ours |= self._of_stores(wanted, dig(pod, "metadata", "labels", names.LABEL_ROLE) or "")
        if names.ENV_RING_PORT in wanted:
            ours[names.ENV_RING_PORT] = str(self._ring_port(pod))
        whole = self.inherited() | wanted | ours
        return whole | stand_in(whole, self.machine).env

    def _of_stores(self, wanted: Mapping[str, str], role: str) -> dict[str, str]:
        """Of the hub's processes: where backups tell their facts, and the home in which SDKs of clouds look for credentials."""
        state = self.places.state
        ours: dict[str, str] = {}
        if role in (names.ROLE_BACKUP, names.ROLE_VERIFY):
            facts = {
                names.ENV_STATUS: f"file:{state.backup_status}",
                names.ENV_BACKUP_OBJECTS: f"file:{self.places.manifests}",
            }
            ours |= {name: value for name, value in facts.items() if name in wanted}
        if any("://" in wanted.get(name, "") for name in (names.ENV_STORE, names.ENV_BACKUP_STORE)):
            ours |= {"HOME": str(Path.home())}
        return ours

    def _ring_port(self, pod: Json) -> int:
        """One free port per Job: all its pods, and those that replace them, must agree."""
        uid = str(pod["metadata"]["ownerReferences"][0]["uid"])
        if uid not in self.ring_ports:
            (self.ring_ports[uid],) = _free_ports(1)
        return self.ring_ports[uid]


def _search_path() -> str:
    """The runner's own search path, absolute because processes start elsewhere."""
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    product = Path(names.__file__).resolve().parents[1]
    return os.pathsep.join(dict.fromkeys(str(Path(path).absolute()) for path in [*given, str(product)]))


def _free_ports(count: int) -> list[int]:
    """Different ones."""
    with ExitStack() as probes:
        bound = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in bound:
            probe.bind((mounts.LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in bound]
