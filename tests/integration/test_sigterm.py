"""SIGTERM for a program that waits for somebody: its own handler ends it, as it must for the first process of a container."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fedaggregator import solewriter
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.location import S3
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, monitored
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
CODE = 128 + signal.SIGTERM  # where the kernel ends it, Popen tells a negative number


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def bucket(host: str) -> str:
    return S3("bucket", "job", "us-east-1", f"http://{host}").text()


def fetching(folder: Path, host: str) -> tuple[str, dict[str, str]]:
    file, sha256 = folder / "model", "0" * 64
    uri = f"https://{host}/model"
    env = {names.ENV_IMPORT_URI: uri, names.ENV_IMPORT_SHA256: sha256, names.ENV_IMPORT_FILE: str(file)}
    return "fedaggregator.fetch", env


def handing_in(folder: Path, host: str) -> tuple[str, dict[str, str]]:
    job = JobFolder(folder, config())
    given = {names.ENV_AGGREGATOR_URL: f"https://{host}", names.ENV_INIT_DIR: str(job.init_dir)}
    return "fedaggregator.handin", job.env() | given | {names.ENV_CREDENTIALS_DIR: str(job.init_credentials())}


def backing_up(folder: Path, host: str) -> tuple[str, dict[str, str]]:
    job = JobFolder(folder, config(), place=bucket(host))
    key = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    return "fedbackup create", job.env() | key | {names.ENV_BACKUP_STORE: str(folder / "destination")}


@pytest.mark.parametrize("program", [fetching, handing_in, backing_up])
def test_a_program_of_one_step_ends_itself(tmp_path, program):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        command, env = program(tmp_path, address(silent))
        env |= {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'operator'}"}
        with (
            subprocess.Popen([sys.executable, "-m", *command.split()], env=env, stderr=subprocess.PIPE) as process,
            silent.accept()[0],
        ):
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, b"Traceback" in told) == (CODE, False), told


def test_an_aggregator_that_waits_for_another_ends_in_order(tmp_path):
    job = JobFolder(tmp_path, config(), place=bucket("127.0.0.1:9") + "&fence=lease")
    with (tmp_path / solewriter.LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Aggregator(job) as waiting:
            until(lambda: "has locked" in monitored(job, "/readyz").text, not_yet=(httpx.TransportError,))
            waiting.process.send_signal(signal.SIGTERM)
            assert waiting.wait() == Exit.OK
    assert "before it served" in waiting.log()


def test_an_aggregator_that_waits_for_its_store_ends(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        key = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        job = JobFolder(tmp_path, config(), model=None, place=bucket(address(silent)), extra_env=key)
        with Aggregator(job) as waiting, silent.accept()[0]:
            waiting.process.send_signal(signal.SIGTERM)
            assert waiting.wait() == Exit.OK
