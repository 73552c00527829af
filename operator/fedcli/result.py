"""The result of a job in the one form that embedded runs and clusters share. Pure but for the file at the end."""

import errno
import json
import os
from datetime import datetime
from pathlib import Path

from fedapi.jsonvalue import Json
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError


def result(job: Json, seconds: float | None = None) -> Json:
    """{job, phase, rounds, metrics, privacy, clients, model, seconds} from a FederatedJob with status."""
    status = job.get("status") or {}
    model = status.get("model") or {}
    return {
        "job": job["metadata"]["name"],
        "phase": phase(status),
        "rounds": (status.get("round") or {}).get("committed", 0),
        "metrics": {metric["name"]: float(metric["value"]) for metric in status.get("metrics") or ()},
        "privacy": {
            told["unit"].lower(): {"epsilon": float(told["epsilon"]), "delta": float(told["delta"])}
            for leaf in ("privacy", "recordPrivacy")
            if (told := status.get(leaf))
        },
        "clients": [
            {"name": client["name"], "samples": client.get("samples", 0), "rounds": client.get("rounds", 0)}
            for client in sorted(status.get("clients") or (), key=lambda c: str(c["name"]))
        ],
        "model": {"uri": model.get("uri"), "sha256": model.get("sha256")},
        "seconds": round(seconds if seconds is not None else duration_s(status), 3),
    }


def phase(status: Json) -> str:
    """Complete or Failed by the conditions; else the printed phase."""
    held = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    return next((end for end in ("Complete", "Failed", "Suspended") if end in held), status.get("phase") or "Pending")


def duration_s(status: Json) -> float:
    """Seconds from start to end; 0 while it runs."""
    if not (status.get("startTime") and status.get("completionTime")):
        return 0.0
    start, end = (datetime.fromisoformat(status[name]) for name in ("startTime", "completionTime"))
    return (end - start).total_seconds()


def text(content: Json) -> str:
    """As JSON that a terminal can show."""
    return json.dumps(content, indent=2).replace("\x7f", "\\u007f") + "\n"


def check_writable(path: Path, option: str = "--result") -> None:
    """BadInputError where the file could not be written later: tried by a file beside it, which is removed again."""
    probe = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with (path if path.exists() else probe).open("ab"):
            pass
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(f"{option}: {path} cannot be written ({error.strerror}): give another file") from error


def write(path: Path, content: Json, option: str = "--result") -> None:
    """As JSON into a file; folders are made. CommandError where that fails: a volume may have filled up meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(content), encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{option}: {path} cannot be written ({error.strerror}): run again with another file"
        ) from error
