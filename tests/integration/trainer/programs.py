"""Starts the trainer's programs as a pod would: environment, credentials directory, termination log."""

import io
import json
import logging
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from fedapi import names
from fedtrainer.__main__ import main
from fedtrainer.ring.slot import Slot
from tests.integration.trainer.hub import TOKEN, Hub
from tests.ports import free_port
from tests.preloaded import Program
from tests.waiting import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
UID = "11111111-2222-3333-4444-555555555555"


STARTED: list[Program] = []  # ended by `end_all` when a test failed before it ended them itself


def end_all() -> None:
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        process.close()


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
    token: str = TOKEN
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, kind: str, entrypoint: str = "tiny_task:task") -> dict[str, str]:
        for name in ("credentials", "data", "state", "init"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "credentials" / names.FILE_TOKEN).write_text(self.token)
        if self.hub is not None:
            (self.folder / "credentials" / names.FILE_CA).write_bytes(self.hub.ca.read_bytes())
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "operator", ROOT / "trainer", HERE))),
            names.ENV_JOB: "tiny",
            names.ENV_NAMESPACE: "default",
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

    def start(self, command: str, kind: str = "Tiny", entrypoint: str = "tiny_task:task") -> Program:
        env = self.environment(kind, entrypoint)
        process = Program("fedtrainer", command, env=env, cwd=self.folder, log=self.folder / "log")
        STARTED.append(process)
        return process

    def start_ranks(self, kind: str, size: int = 2) -> list[Program]:
        """The ranks of one generation, each a worker of its own, as launchers start them."""
        environment, processes, port = self.environment(kind), [], free_port()
        for rank in range(size):
            slot = Slot(
                0, rank, size, 0, 1, rank, ("127.0.0.1",) * size, port, collective="TorchDistributed", timeout_s=60
            )
            own = {names.ENV_TERMINATION_LOG: str(self.folder / f"termination-log-{rank}")}
            env = environment | slot.environment() | own
            process = Program("fedtrainer", "train", env=env, cwd=self.folder, log=self.folder / "log")
            STARTED.append(process)
            processes.append(process)
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
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        logging.getLogger().addHandler(handler)
        logging.getLogger("fedtrainer").setLevel(logging.INFO)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with mock.patch.dict(os.environ, self.environment(kind, entrypoint)):
                code = main([command])
        finally:
            logging.getLogger().removeHandler(handler)
            for number, previous in handlers.items():
                signal.signal(number, previous)
        termination = self.folder / "termination-log"
        return Ended(code, termination.read_text() if termination.exists() else "", stream.getvalue())

    def run(self, command: str, kind: str = "Tiny", entrypoint: str = "tiny_task:task") -> Ended:
        return self.end(self.start(command, kind, entrypoint))

    def initial_model(self, kind: str = "Tiny") -> Path:
        ended = self.call("init", kind)
        assert ended.code == 0, ended.log
        return self.folder / "init" / names.INIT_MODEL_FILE
