"""Runs a job as a user without a cluster does: a folder with manifests and a task, `fedloom run`, real processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from fedapi import names

TASKS = Path(__file__).parent / "tasks"
TIMEOUT_S = 420


def site(name: str) -> dict[str, Any]:
    """A site without data of its own."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.CLIENT_KIND,
        "metadata": {"name": name, "labels": {"consortium": "bench"}},
        "spec": {"provider": "OnPremises"},
    }


def job(name: str, entrypoint: str, sites: int, rounds: int, image: str = "none", **args: Any) -> dict[str, Any]:
    """A job that waits for all its sites in every round."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.JOB_KIND,
        "metadata": {"name": name},
        "spec": {
            "task": {"entrypoint": entrypoint, "image": image, "imagePullPolicy": "Never", "args": args},
            "rounds": rounds,
            "seed": 1,
            "clients": {"selector": {"matchLabels": {"consortium": "bench"}}, "minAvailable": sites},
            "round": {"deadline": "5m", "quorum": "100%"},
            "storage": {"volume": {"size": "1Gi"}},
        },
    }


def manifests(entrypoint: str, sites: int, rounds: int, **args: Any) -> list[dict[str, Any]]:
    """Sites and a job."""
    return [*(site(f"site-{n}") for n in range(sites)), job("bench", entrypoint, sites, rounds, **args)]


def prepared(folder: Path, documents: list[dict[str, Any]]) -> list[str]:
    """The command that runs the job, with state in `folder`/state."""
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(documents))
    for task in TASKS.glob("*.py"):
        (folder / task.name).write_text(task.read_text())
    command = [sys.executable, "-m", "fedcli", "run", str(folder), "--workdir", str(folder / "state"), "--fresh"]
    return [*command, "--result", str(folder / "result.json")]


def run(folder: Path, documents: list[dict[str, Any]], *options: str) -> Path:
    """Runs the job to its end; the folder in which it kept its store."""
    command = [*prepared(folder, documents), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"fedloom run ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return folder / "state"
