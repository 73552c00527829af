"""Pods of one site on this machine: started, killed, waited for, and what their ranks have written."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fedapi import names
from tests.ports import free_port
from tests.waiting import PATIENCE_S, until

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
TOKEN = "ab" * 32


@dataclass
class Pool:
    """A site of `workers` pods."""

    folder: Path
    workers: int = 2
    slots: int = 1
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    program: tuple[str, ...] = (str(HERE / "pod.py"),)
    pods: list[subprocess.Popen] = field(default_factory=list)

    def start(self, worker: int, token: str = TOKEN, **env: str) -> subprocess.Popen:
        home = self.folder / f"pod-{worker}"
        home.mkdir(exist_ok=True)
        (home / names.FILE_TOKEN).write_text(token)
        self.reason(worker).unlink(missing_ok=True)
        given = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "operator", ROOT / "trainer", ROOT))),
            "LAUNCH_TEST_FOLDER": str(self.folder),
            names.ENV_JOB: "job",
            names.ENV_JOB_UID: "uid",
            names.ENV_CLIENT: "site",
            names.ENV_AGGREGATOR_URL: "https://127.0.0.1:1",
            names.ENV_ENTRYPOINT: "a:b",
            names.ENV_CREDENTIALS_DIR: str(home),
            names.ENV_TERMINATION_LOG: str(self.reason(worker)),
            names.ENV_RING_WORKERS: str(self.workers),
            names.ENV_RING_SLOTS: str(self.slots),
            names.ENV_RING_LEADER: "localhost",
            names.ENV_RING_PORT: str(self.port),
            names.ENV_RING_ADDRESS: "127.0.0.1",
            names.ENV_COMPLETION_INDEX: str(worker),
            **self.env,
            **env,
        }
        with (self.folder / f"log-{worker}").open("ab") as log:
            pod = subprocess.Popen([sys.executable, *self.program], env=given, stdout=log, stderr=log)
        self.pods.append(pod)
        return pod

    def reason(self, worker: int) -> Path:
        return self.folder / f"pod-{worker}" / "termination-log"

    def log(self, worker: int) -> str:
        return (self.folder / f"log-{worker}").read_text()

    def generation(self, number: int, size: int) -> list[dict]:
        """Waits until all ranks of a generation work; what they have found, by rank."""
        paths = [self.folder / f"rank-{number}-{rank}.json" for rank in range(size)]
        until(lambda: all(path.exists() for path in paths))
        ranks = [json.loads(path.read_text()) for path in paths]
        assert [rank["rank"] for rank in ranks] == list(range(size))
        assert {rank["size"] for rank in ranks} == {size}
        return ranks

    def order(self, rank: int, words: str) -> None:
        part = self.folder / f".order-{rank}"
        part.write_text(words)
        part.rename(self.folder / f"order-{rank}")

    def finish(self, pods: list[subprocess.Popen]) -> None:
        self.order(0, "finish")
        assert [pod.wait(PATIENCE_S) for pod in pods] == [0] * len(pods), [self.log(w) for w in range(self.workers)]

    def close(self) -> None:
        for pod in self.pods:
            if pod.poll() is None:
                pod.send_signal(signal.SIGKILL)
            pod.wait()
