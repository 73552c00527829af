"""Rounds of a large model through a real S3 server: the aggregator's process and trainers as a pod would run them.

Updates are encrypted, as they are by default with a bucket. Used by the rows of it; measured once in a run of the bench.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fedapi import names
from fedstore import history
from tests.bench.embedded import TASKS
from tests.integration.fedaggregator.buckets import Reached, job_in
from tests.integration.fedaggregator.harness import Aggregator
from tests.integration.fedtrainer.programs import Site
from tests.servers.s3server import S3Server

CLIENTS = ("site-0", "site-1")
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Measured:
    """What a job took."""

    walls_s: list[float]  # from commit to commit, without the first round
    rss_mib: float  # the aggregator's most


def run(server: S3Server, folder: Path, *, parameters: int, rounds: int) -> Measured:
    """Two sites whose training adds one to each of so many parameters."""
    job = job_in(server, folder / "job", *CLIENTS, rounds=rounds, encryption="MLKEM768X25519", model=None)
    sites = [Site(folder / client, Reached(job), client) for client in CLIENTS]
    environments = [_environment(site, parameters) for site in sites]
    _run("init", environments[0], folder / "init.log")
    job.write_initial((sites[0].folder / "init" / names.INIT_MODEL_FILE).read_bytes())
    with Aggregator(job, forked=False).ready(TIMEOUT_S) as aggregator:
        logs = [(folder / f"{client}.log").open("wb") for client in CLIENTS]
        trainers = [
            subprocess.Popen([sys.executable, "-m", "fedtrainer", "train"], env=each, stdout=log, stderr=log)
            for each, log in zip(environments, logs, strict=True)
        ]
        try:
            codes = [trainer.wait(TIMEOUT_S) for trainer in trainers]
        finally:
            for trainer, log in zip(trainers, logs, strict=True):
                trainer.kill()
                trainer.wait()
                log.close()
        if any(codes):
            raise RuntimeError(f"trainers ended with {codes}: {(folder / 'site-0.log').read_text()[-3000:]}")
        status = Path(f"/proc/{aggregator.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    times = [each.record.committed_at for each in history.committed(job.store, job.layout)]
    walls = [after - before for before, after in pairwise(times[1:])]
    return Measured(walls, int(found[1]) / 1024 if found else 0.0)


def _environment(site: Site, parameters: int) -> dict[str, str]:
    given = site.environment("", "addone:task")
    path = os.pathsep.join((str(TASKS), given["PYTHONPATH"]))
    return given | {"PYTHONPATH": path, names.ENV_TASK_ARGS: f'{{"parameters": {parameters}}}'}


def _run(command: str, environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "fedtrainer", command], env=environment, stdout=sink, stderr=sink, check=False
        )
    if done.returncode:
        raise RuntimeError(f"fedtrainer {command} ended with {done.returncode}: {log.read_text()[-3000:]}")
