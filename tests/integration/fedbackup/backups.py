"""The real processes of a backup beside a job's folder: create, verify with the task's own process, restore."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fedapi import names
from fedbackup.archive import Archive
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import (
    JOB_KEY,
    ORDER_WITHIN_S,
    Aggregator,
    JobFolder,
    Site,
    config,
    run_sites,
)
from tests.preloaded import Program
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ("a", "b")
OLD, NEW = "0b5c1f9e-0000-4000-8000-000000000001", "0b5c1f9e-0000-4000-8000-000000000002"


def trained(folder: Path, rounds: int = 2, of: int = 4, job: JobFolder | None = None) -> JobFolder:
    """A job whose aggregator was stopped after some rounds."""
    job = job or JobFolder(folder, config(CLIENTS, rounds=of, uid=OLD))
    with Aggregator(job).ready():
        sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
        for site in sites:
            site.next(0.0)
        for _ in range(rounds):
            for site in sites:
                assert site.step(ORDER_WITHIN_S) == "Train"
        until(lambda: job.head().round == rounds)
    return job


def finished(job: JobFolder) -> str:
    """The last model's digest after the job was run to its end."""
    with Aggregator(job).ready():
        run_sites(job)
    return job.commits()[-1].model.sha256


_OF_THE_STORE = (names.ENV_STORE, names.ENV_STORE_CREDENTIALS_DIR)


@dataclass
class Backups:
    """One destination."""

    folder: Path
    place: str = ""
    place_credentials: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.place = self.place or str(self.folder / "destination")
        self.credentials = self.folder / "backup-credentials"
        self.credentials.mkdir(parents=True, exist_ok=True)
        (self.credentials / names.FILE_JOB_KEY).write_bytes(JOB_KEY)

        if self.place_credentials:
            self.env[names.ENV_BACKUP_CREDENTIALS_DIR] = str(self.place_credentials)

    def of(self, job: JobFolder) -> Archive:
        return Archive(open_store(self.place, self.place_credentials), job.layout)

    def _environment(self, job: JobFolder, env: dict[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer'}:{ROOT}",
            names.ENV_JOB: job.config.name,
            names.ENV_NAMESPACE: job.config.namespace,
            names.ENV_JOB_UID: job.config.uid,
            **{name: value for name, value in job.env().items() if name in _OF_THE_STORE},
            names.ENV_BACKUP_STORE: self.place,
            names.ENV_CREDENTIALS_DIR: str(self.credentials),
            names.ENV_CONFIG_FILE: str(job.root / "job.json"),
            names.ENV_STATUS: f"file:{self.folder / 'facts.json'}",
            names.ENV_TERMINATION_LOG: str(self.folder / "termination.log"),
            **self.env,
            **env,
        }

    def start(self, step: str, job: JobFolder, **env: str) -> Program:
        log = self.folder / f"{step}-{time.monotonic_ns()}.log"
        return Program("fedbackup", step, env=self._environment(job, env), cwd=self.folder, log=log)

    def run(self, step: str, job: JobFolder, *wrapper: str, **env: str) -> tuple[int, str]:
        """Exit code, and the log. `wrapper`: a file that runs it in a process of its own, and what that is told."""
        if wrapper:
            command, given = [sys.executable, *wrapper, step], self._environment(job, env)
            done = subprocess.run(
                command, env=given, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
            )
            code, log = done.returncode, done.stderr
        else:
            process = self.start(step, job, **env)
            code, log = process.wait(PATIENCE_S), process.log.read_text()
        assert "Traceback" not in log, log
        return code, log

    def verify(self, job: JobFolder, accuracy: float, data: Path | None = None, **env: str) -> tuple[int, int, str]:
        """With the task's process beside; exit codes of both, and the log of the verification."""
        shared = self.folder / "verify"
        shared.mkdir(exist_ok=True)
        for left in shared.iterdir():
            left.unlink()
        data = data or self._sandbox()
        evaluating = Program(
            "fedtrainer",
            "evaluate",
            cwd=self.folder,
            log=self.folder / f"evaluate-{time.monotonic_ns()}.log",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer'}:{Path(__file__).parent / 'task'}",
                names.ENV_ENTRYPOINT: "measured:task",
                names.ENV_TASK_ARGS: json.dumps({"accuracy": accuracy}),
                names.ENV_DATA_DIR: str(data),
                names.ENV_VERIFY_DIR: str(shared),
            },
        )
        try:
            env = {names.ENV_VERIFY_DIR: str(shared)} | env
            code, log = self.run("verify", job, **env)
            return code, evaluating.wait(PATIENCE_S), log
        finally:
            evaluating.kill()
            evaluating.wait()

    def _sandbox(self) -> Path:
        folder = self.folder / "data"
        (folder / "sandbox").mkdir(parents=True, exist_ok=True)
        (folder / "sandbox" / "test.csv").write_text("")
        return folder

    def facts(self) -> dict:
        return json.loads((self.folder / "facts.json").read_text())["backup"]
