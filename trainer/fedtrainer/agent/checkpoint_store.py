"""What the site keeps on its state volume while it works on an order. Called by work.py.

    <state>/<job uid>/<client>/model-<sha256>.safetensors       the downloaded model
    <state>/<job uid>/<client>/initial-<sha256>.safetensors     the initial model, where it has tensors that do not travel
    <state>/<job uid>/<client>/hubstate-<sha256>.safetensors    what the strategy keeps at the hub, where a training needs it
    <state>/<job uid>/<client>/<round>-<attempt>-<base>/        one order
        checkpoint.safetensors  state of an unfinished training (training/progress.py)
        update.safetensors      the finished update, as it is sent: encoded and encrypted in jobs where that is asked for …
        control.safetensors     … and a payload beside it, in jobs whose strategy has one …
        finished.json           … and what its manifest says, and of which order; written last, by rename
    <state>/<job uid>/<client>/spare/                           files of a small order that is over, for the next one
    <state>/<job uid>/<client>/state/                           the site's state (training/state_files.py)

An update is kept until the aggregator has acknowledged it; orders that are over are deleted, but for the files of small ones,
which are written over: to make them anew costs more than all else that is done with them. Jobs and sites may share
the volume: a process touches its folder while it works, and deletes those of jobs that nobody has touched for a week.
None of this deletes a site's state. A site's folder is locked by the process that works in it.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Codec, codec
from fedapi.wire.orders import TrainOrder
from fedapi.wire.update import UPDATE
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings
from fedtrainer.training import overwriting
from fedtrainer.training.overwriting import SMALL_BYTES
from fedtrainer.training.state_files import StateFiles

log = logging.getLogger(__name__)

LOCK_PAUSE_S = 0.1
FORGOTTEN_S = 7 * 24 * 3600.0  # folders of other jobs untouched for so long belong to nobody
STATE = "state"
SPARE = "spare"  # folder of an order that is over: its files are written over for the next one's
FINISHED, PARTIAL = "finished.json", "finished.partial"
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a uid: anything else on the volume is not ours


@dataclass(frozen=True)
class Finished:
    """A trained update: enough for its manifest, nonce included, so that it can be handed in again."""

    sha256: str
    size: int
    samples: int
    metrics: dict[str, float]
    training_s: float
    nonce: str
    steps: int | None = None  # unknown where the task has a `train` of its own that does not say it
    encryption: Kem | None = None  # by which the files are encrypted
    beside: dict[str, tuple[str, int]] = field(default_factory=dict)  # further payloads: SHA-256 and size
    codec: Codec = "None"  # by which the update is encoded
    noise_multiplier: float | None = None  # of the site's own noise, where it has added some
    privacy: dict[str, str | float] | None = None  # with privacy.dpSGD: what the site has told of one record

    def fits(self, order: TrainOrder) -> bool:
        """Whether it is encoded, hidden and encrypted as the order asks for; one of an older hub's order may not be."""
        kem = order.encryption.kem if order.encryption else None
        noise = order.site_noise.noise_multiplier if order.site_noise else None
        made = self.encryption, self.codec, self.noise_multiplier
        return made == (kem, codec(order.compression), noise)


class Folder:
    """Files of one order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.update = self.payload(UPDATE)

    def payload(self, name: str) -> Path:
        """The file of a payload."""
        return self.path / f"{name}.safetensors"

    def finished(self) -> Finished | None:
        """What an earlier process finished for this order, if its files are whole (the aggregator checks their digests).

        After a power cut, files that were written over can have their new names and their old bytes.
        """
        try:
            said = dict(json.loads((self.path / FINISHED).read_bytes()))
            if said.pop("order", "") != self.path.name:
                return None
            finished = Finished(**said)
            sizes = {UPDATE: finished.size, **{name: int(size) for name, (_, size) in finished.beside.items()}}
            whole = all(self.payload(name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError, TypeError):
            return None
        return finished if whole else None

    def finish(self, finished: Finished) -> None:
        """Keeps a finished update; its training state is not needed any more."""
        partial = self.path / PARTIAL
        overwriting.write(partial, json.dumps(asdict(finished) | {"order": self.path.name}).encode())
        partial.replace(self.path / FINISHED)
        (self.path / "checkpoint.safetensors").unlink(missing_ok=True)

    def finished_void(self) -> None:
        """The finished update is damaged: forget it."""
        (self.path / FINISHED).unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes everything of the order; files of a small update are kept, empty of meaning, for the next order."""
        if not self._spared():
            shutil.rmtree(self.path, ignore_errors=True)

    def _spared(self) -> bool:
        """Nothing is left that could be taken for a finished update before the folder has the name that says so."""
        spare, finished = self.path.with_name(SPARE), self.path / FINISHED
        try:
            small = self.update.stat().st_size <= SMALL_BYTES
            if not small or spare.exists() or {*self.path.iterdir()} != {self.update, finished}:
                return False
            finished.rename(self.path / PARTIAL)
            self.update.rename(self.path / f"{self.update.name}.partial")
            self.path.rename(spare)
        except OSError:
            return False
        return True


class CheckpointStore:
    """Folders of one job at one site."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._job = settings.state_dir / settings.job_uid
        self.root = self._job / settings.client
        self._spare = self.root / SPARE
        self.state = StateFiles(self.root / STATE)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.root, settings.patience_s)
            self.touch()
        except OSError as error:
            raise BadSettingsError(
                f"state directory {settings.state_dir} is not writable ({error.strerror})"
            ) from error
        _forget(settings.state_dir, self._job)

    def model(self, sha256: str) -> Path:
        """Where the model of an order belongs; models of other orders are deleted, or there to be written over."""
        return self._downloaded("model", sha256)

    def next_model(self, sha256: str) -> Path:
        """The same path, while models of other orders stay."""
        return self.root / f"model-{sha256}.safetensors"

    def hub_state(self, sha256: str) -> Path:
        """The same of what a strategy keeps at the hub."""
        return self._downloaded("hubstate", sha256)

    def initial(self, sha256: str) -> Path:
        """Where an initial model belongs that later ones need: it stays from order to order, and from process to process."""
        path = self.root / f"initial-{sha256}.safetensors"
        for other in self.root.glob("initial-*"):
            if other != path:
                other.unlink(missing_ok=True)
        return path

    def _downloaded(self, kind: str, sha256: str) -> Path:
        path = self.root / f"{kind}-{sha256}.safetensors"
        for unfinished in self.root.glob(f"{kind}-*.partial"):
            unfinished.unlink(missing_ok=True)
        for other in self.root.glob(f"{kind}-*.safetensors"):
            if other == path:
                continue
            if other.stat().st_size <= SMALL_BYTES and not path.exists():
                other.rename(path)
            else:
                other.unlink(missing_ok=True)
        return path

    def order(self, order: TrainOrder) -> Folder:
        """The folder of an order; folders of other orders are deleted."""
        path = self.root / f"{order.round:06d}-{order.attempt}-{order.model.sha256[:16]}"
        for other in _passing(self.root):
            if other.is_dir() and other not in (path, self._spare):
                shutil.rmtree(other, ignore_errors=True)
        if not path.exists():
            with contextlib.suppress(OSError):
                self._spare.rename(path)
        path.mkdir(exist_ok=True)
        return Folder(path)

    def touch(self) -> None:
        """The job is in use: other jobs of the site must not forget it."""
        with contextlib.suppress(FileNotFoundError):  # asked by the watch of a training whose job has just ended
            os.utime(self.root)

    def leave(self, kept: Path | None = None) -> None:
        """The process ends and the job goes on: models are downloaded again by whoever comes next, but for one that is to stay."""
        for path in (*self.root.glob("model-*.safetensors"), *self.root.glob("hubstate-*.safetensors")):
            if path != kept:
                path.unlink(missing_ok=True)
        shutil.rmtree(self._spare, ignore_errors=True)

    def clear(self) -> None:
        """The job is over: nothing is needed any more but the site's state, which is the site's own."""
        _clear(self.root)
        with contextlib.suppress(OSError):  # another site of the same job may share the volume
            self._job.rmdir()

    def close(self) -> None:
        """Another process of the site may work here."""
        os.close(self._lock)


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file is there, with these bytes: after a power cut it may have others."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def new_nonce() -> str:
    """Tells a manifest that is sent again from a new one."""
    return secrets.token_hex(16)


def _forget(state_dir: Path, own: Path) -> None:
    for job in state_dir.iterdir():
        if job != own and _JOB.fullmatch(job.name) and time.time() - _last_use(job) > FORGOTTEN_S:
            with contextlib.suppress(OSError):  # another process of the site deletes it, too
                _clear_job(job)


def _clear_job(job: Path) -> None:
    sites = [path for path in job.iterdir() if path.is_dir()]
    if not sites or any(_passing(site) for site in sites):
        log.info("deletes what is not a site's state in %s, which no job has touched for a week", job)
    for site in sites:
        _clear(site)
    job.rmdir()


def _passing(site: Path) -> list[Path]:
    """What a site's folder holds beside its state."""
    return [path for path in site.iterdir() if path.name != STATE]


def _clear(site: Path) -> None:
    for path in _passing(site):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the state stays
        site.rmdir()


def _locked(folder: Path, patience_s: float) -> int:
    """A descriptor that holds the folder: an earlier pod of the site may still be ending. The system ends the lock with it."""
    descriptor, end = os.open(folder, os.O_RDONLY | os.O_CLOEXEC), time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise BadSettingsError(
                    f"state directory {folder} is in use by another process of this site: end it, or give each its own"
                ) from None
            time.sleep(LOCK_PAUSE_S)
            continue
        except OSError as error:  # some network file systems
            log.warning("%s cannot be locked (%s): keep two processes of a site apart", folder, error)
        return descriptor


def _last_use(job: Path) -> float:
    """When a site's process last touched its folder of a job; the future where that cannot be told."""
    try:
        return max(path.stat().st_mtime for path in (job, *job.iterdir()))
    except OSError:  # another process deletes it, or it is not ours to read
        return float("inf")
