"""Starts the trainer's programs as a pod would: environment, credentials directory, termination log.

Each is a fork of a preloaded process, or, where nobody kills it, its main function in this process.
"""

import io
import json
import logging
import os
import signal
import subprocess
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from fedapi import names
from fedstore import history
from fedstore.opening import open_store
from fedtrainer.__main__ import main
from fedtrainer.ring.slot import Slot
from tests.integration.fedaggregator.harness import UID
from tests.integration.protocol.application import Hub
from tests.ports import free_port
from tests.preloaded import Program
from tests.waiting import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


STARTED: list[Program] = []  # ended by `end_all` when a test failed before it ended them itself


def end_all() -> None:
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        process.close()


def models(hub: Hub) -> list[str]:
    """Digests of what the job has committed, round by round."""
    store = open_store(hub.job.extra_env[names.ENV_STORE])
    return [each.record.model.sha256 for each in history.committed(store, hub.job.layout)]


@dataclass
class Ended:
    code: int
    reason: str
    log: str


@dataclass
class Site:
    """A site's folders and environment."""

    folder: Path
    hub: Hub | None = None
    client: str = "site-a"
    token: str = ""  # the site's own
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, kind: str, entrypoint: str = "tiny_task:task") -> dict[str, str]:
        for name in ("credentials", "data", "state", "init"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        token = self.token or (self.hub.token(self.client) if self.hub else "a" * 64)
        _kept(self.folder / "credentials" / names.FILE_TOKEN, token.encode())
        if self.hub is not None:
            _kept(self.folder / "credentials" / names.FILE_CA, self.hub.ca.read_bytes())
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "operator", ROOT / "trainer", HERE))),
            names.ENV_JOB: "job",
            names.ENV_NAMESPACE: "lab",
            names.ENV_JOB_UID: UID,
            names.ENV_CLIENT: self.client,
            names.ENV_AGGREGATOR_URL: self.hub.url if self.hub else "https://127.0.0.1:1",
            names.ENV_CREDENTIALS_DIR: str(self.folder / "credentials"),
            names.ENV_ENTRYPOINT: entrypoint,
            names.ENV_TASK_ARGS: json.dumps({"kind": kind} if kind else {}),
            names.ENV_SEED: "7",
            names.ENV_DATA_DIR: str(self.folder / "data"),
            names.ENV_STATE_DIR: str(self.folder / "state"),
            names.ENV_INIT_DIR: str(self.folder / "init"),
            names.ENV_TERMINATION_LOG: str(self.folder / "termination-log"),
            "FEDLOOM_POLL_S": "1",
            **self.env,
        }

    def start(self, command: str, kind: str = "Tiny", entrypoint: str = "tiny_task:task", **env: str) -> Program:
        given = self.environment(kind, entrypoint) | env
        process = Program("fedtrainer", command, env=given, cwd=self.folder, log=self.folder / "log")
        STARTED.append(process)
        return process

    def start_ranks(self, kind: str, size: int = 2, env: dict[str, str] | None = None, **pool: Any) -> list[Program]:
        """The ranks of one generation, each a worker of its own, as launchers start them. Values of `env` may name {rank}."""
        port, processes = free_port(), []
        ring = Slot(
            size=size,
            addresses=("127.0.0.1",) * size,
            store_port=port,
            timeout_s=60,
            **{"collective": "TorchDistributed"} | pool,
        )
        for rank in range(size):
            slot = replace(ring, rank=rank, worker=rank)
            own = {name: value.format(rank=rank) for name, value in (env or {}).items()}
            own |= {names.ENV_TERMINATION_LOG: str(self.folder / f"termination-log-{rank}")}
            processes.append(self.start("train", kind, **slot.environment(), **own))
        return processes

    def end_ranks(self, processes: list[Program]) -> list[int]:
        """Their exit codes."""
        codes = [self.end(process).code for process in processes]
        for process in processes:
            process.close()
        return codes

    def end(self, process: Program, timeout_s: float = PATIENCE_S) -> Ended:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        termination = self.folder / "termination-log"
        reason = termination.read_text() if termination.exists() else ""
        return Ended(process.returncode, reason, (self.folder / "log").read_text())

    def call(self, command: str, kind: str = "Tiny", entrypoint: str = "tiny_task:task") -> Ended:
        """The program's main function in this process: the same path, without the time that torch takes to load."""
        stream, root = io.StringIO(), logging.getLogger()
        before = root.level, root.handlers[:]
        signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with mock.patch.dict(os.environ, self.environment(kind, entrypoint)), redirect_stderr(stream):
                code = main([command])
        finally:
            root.level, root.handlers[:] = before
            for number, previous in signals.items():
                signal.signal(number, previous)
        termination = self.folder / "termination-log"
        return Ended(code, termination.read_text() if termination.exists() else "", stream.getvalue())

    def run(self, command: str, kind: str = "Tiny", entrypoint: str = "tiny_task:task") -> Ended:
        return self.end(self.start(command, kind, entrypoint))

    def initial_model(self, kind: str = "Tiny") -> Path:
        ended = self.call("init", kind)
        assert ended.code == 0, ended.log
        return self.folder / "init" / names.INIT_MODEL_FILE


def _kept(path: Path, content: bytes) -> None:
    """Writes what is not there yet: another rank of the site may be reading it."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
