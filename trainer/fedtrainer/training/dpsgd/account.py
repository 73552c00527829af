"""What a site has told of its records: the file of its own account, which outlives processes, attempts and the job.

    <state>/<job uid>/<client>/state/privacy-account.jsonl    a sealed record per training whose update may have left the site

An entry is durable before its update may leave, and nothing takes it back: not an attempt that failed, not a rollback. A line
without its end was never durable, so nothing left on its account. Written by rank 0 alone.
"""

import os
from pathlib import Path

from pydantic import Field

from fedapi.wire.message import DamagedRecordError, NewerRecordError, Record, Sha256
from fedtrainer.errors import SiteStateError
from fedtrainer.training import durable
from fedtrainer.training.dpsgd.accountant import Release
from fedtrainer.training.state_files import Committed, Update

FILE = "privacy-account.jsonl"


class Entry(Record):
    """One training."""

    round: int
    attempt: int
    update_sha256: Sha256
    noise_multiplier: float = Field(gt=0)
    sample_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=0)

    @property
    def release(self) -> Release:
        """What it has told."""
        return Release(self.noise_multiplier, self.sample_rate, self.steps)


class Account:
    """Of one site in one job. Without a folder it lives as long as the process."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._entries, self._length = self._read()

    @property
    def releases(self) -> tuple[Release, ...]:
        """Oldest first."""
        return tuple(entry.release for entry in self._entries)

    def check(self, committed: Committed | None, accepted: Update | None = None) -> None:
        """SiteStateError when it lacks an update that the aggregator has committed, or accepted: then it is not whole."""
        known = {(entry.round, entry.attempt) for entry in self._entries}
        for update, has in ((committed.update if committed else None, "committed"), (accepted, "accepted")):
            if update is None or update in known or self._path is None:
                continue
            raise SiteStateError(
                f"privacy.dpSGD: the site's privacy account {self._path} lacks its update of round {update[0]}, attempt {update[1]}, "
                f"which the aggregator has {has}, so that no epsilon would hold: put back the volume that held it (spec.state of the "
                "FLClient), or take the site out of the job"
            )

    def charge(self, update: Update, sha256: str, release: Release) -> None:
        """Durable when this returns."""
        entry = Entry(
            round=update[0],
            attempt=update[1],
            update_sha256=sha256,
            noise_multiplier=release.noise_multiplier,
            sample_rate=release.sample_rate,
            steps=release.steps,
        ).sealed()
        if self._path is not None:
            self._append(self._path, entry.canonical() + b"\n")
        self._entries = (*self._entries, entry)

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(self._length)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._length += len(line)
        durable.sync(path.parent, path.parent.parent)

    def _read(self) -> tuple[tuple[Entry, ...], int]:
        try:
            data = self._path.read_bytes() if self._path is not None else b""
        except FileNotFoundError:
            return (), 0
        except OSError as error:
            raise SiteStateError(f"privacy.dpSGD: {self._path} is not readable ({error.strerror})") from error
        whole = data[: data.rfind(b"\n") + 1]
        try:
            return tuple(Entry.stored(line) for line in whole.splitlines()), len(whole)
        except (DamagedRecordError, NewerRecordError) as error:
            raise SiteStateError(
                f"privacy.dpSGD: the site's privacy account {self._path} cannot be read ({error}), so that no epsilon would hold: "
                "put back the volume that held it, or take the site out of the job"
            ) from error
