"""The folder that keeps one job between runs: what lies where, the lock, and writes that survive a kill.

Used by runner.py, mounts.py and key_store.py, and by fedcli to find the store.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal.errors import BadInputError, StateBrokenError, StateBusyError

LEAST_FREE_BYTES = 64 * 1024  # with less, records of a few kilobytes are at risk
DEFAULT_WORKDIR = Path(".fedloom")


@dataclass(frozen=True)
class StateFolder:
    """`<workdir>/<job>`."""

    root: Path

    @property
    def record(self) -> Path:
        """The job as it is stored: uid, spec and status."""
        return self.root / "job.json"

    @property
    def aggregator_status(self) -> Path:
        """The leaves of status that the aggregator writes."""
        return self.root / "aggregator-status.json"

    @property
    def backup_status(self) -> Path:
        """The leaf of status that the backup writes."""
        return self.root / "backup-status.json"

    @property
    def keys(self) -> Path:
        """Master key and CA."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """What the processes print, a file per aggregator, init step and site's worker."""
        return self.root / "logs"

    def claim(self, name: str) -> Path:
        """The folder that stands for a PersistentVolumeClaim."""
        return self.root / "claims" / name

    def secret(self, name: str) -> Path:
        """The folder that stands for a mounted Secret."""
        return self.root / "secrets" / name

    def config_map(self, name: str) -> Path:
        """The folder that stands for a mounted ConfigMap."""
        return self.root / "configmaps" / name

    def pod(self, name: str) -> Path:
        """Everything of one pod that goes with it."""
        return self.root / "pods" / name

    def read(self) -> Json | None:
        """The stored record, or None before the first run. StateBrokenError when it is damaged."""
        try:
            return _object(self.record)
        except ValueError as error:
            raise self.broken(f"is not JSON ({error})") from error

    def read_aggregator_status(self) -> Json | None:
        """What the aggregator last wrote; None where it has not, or the file is damaged: its next one writes it anew."""
        try:
            return _object(self.aggregator_status)
        except ValueError:
            return None

    def read_backup_status(self) -> Json | None:
        """What the backup last wrote, as the aggregator's."""
        try:
            return _object(self.backup_status)
        except ValueError:
            return None

    def broken(self, what: str) -> StateBrokenError:
        """The error of a damaged record. The models do not go with it, so that the user hears of them first."""
        models = self.root / "claims"
        return StateBrokenError(
            f"{self.record} {what}: put it back from a copy; without one, take the models that you need out of {models}, "
            "then run with --fresh, which deletes them and begins anew"
        )


def _object(path: Path) -> Json | None:
    """A JSON object, or None where there is no file. ValueError when it is something else."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - what is wrong with a file, not with a call
    return value


def write(path: Path, content: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replaces a file at once: a reader, or the next run after a kill, sees the old or the new content.

    `durable`: after a power cut too, which costs milliseconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Json) -> None:
    """The same for a JSON object."""
    write(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def is_full(root: Path) -> bool:
    """Whether nothing more can be written to the folder's volume."""
    try:
        return shutil.disk_usage(root).free < LEAST_FREE_BYTES
    except OSError:
        return False


def ours(root: Path) -> bool:
    """Whether a folder may be used, and removed by --fresh: it is a run's state, or holds nothing."""
    return not root.exists() or any(root.glob("keys*")) or not any(root.iterdir())


@contextmanager
def begun_anew(root: Path) -> Iterator[Callable[[], None]]:
    """An empty folder in place of a run's state, which comes back at the end unless it was removed by calling what is given.

    Volumes of backups are not removed: they are there for when the rest is lost. A run that is killed meanwhile leaves
    its state aside; `locked` brings it back.
    """
    aside = _aside(root)
    root.rename(aside)
    try:
        root.mkdir()
        yield lambda: _remove(root)
    finally:
        _bring_back(root)


def _aside(root: Path) -> Path:
    return root.with_name(f".{root.name}.aside")


def _removed(root: Path) -> Path:
    return _aside(root).with_suffix(".removed")


def _remove(root: Path) -> None:
    """Killed in between, it is gone all the same, and `locked` goes on with it."""
    _aside(root).rename(_removed(root))
    _finish_removal(root)


def _finish_removal(root: Path) -> None:
    removed = _removed(root)
    if not removed.exists():
        return
    for claim in (removed / "claims").glob("*"):
        if names.is_backup_claim_of(claim.name, root.name):
            (root / "claims").mkdir(exist_ok=True)
            claim.rename(root / "claims" / claim.name)
    shutil.rmtree(removed)


def _bring_back(root: Path) -> None:
    aside = _aside(root)
    if aside.exists():
        shutil.rmtree(root)
        aside.rename(root)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds the folder's lock; it goes with the process. StateBusyError when another run has it."""
    try:
        if not ours(root):
            raise BadInputError(f"{root} holds something else than a run's state: give another --workdir")
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root), tempfile.NamedTemporaryFile(dir=root.parent):
            pass
    except OSError as error:
        raise BadInputError(
            f"--workdir: {error.filename or root} cannot be written ({error.strerror}): state is kept in {root.parent},"
            " give another --workdir"
        ) from error
    lock = root.parent / f".{root.name}.lock"  # beside the folder, so that --fresh can remove the folder
    with lock.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise StateBusyError(
                f"{root} is in use by another run (process {file.read().strip() or '?'}): wait for it, stop it, or give another --workdir"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _bring_back(root)
        _finish_removal(root)
        yield
