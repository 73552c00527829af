"""The store of a job that is a bucket, with the user's own credentials: its committed models, and its repair. Called by modelreader.py.

No pod is made and no Secret is read: who may read the bucket may pull the model, and who may write it may repair it, whatever
the cluster allows him.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedaggregator.engine import salvage
from fedaggregator.errors import FatalError
from fedapi.crd.storage import Storage
from fedapi.jsonvalue import Json
from fedapi.wire.message import NewerRecordError
from fedapi.wire.store import Layout
from fedcli.errors import CommandError
from fedstore import history
from fedstore.errors import HeadMovedError, HistoryDamagedError, MissingError, StoreError
from fedstore.fetching import fetch
from fedstore.history import Committed
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store


@dataclass(frozen=True)
class Bucket:
    """A job's part of one."""

    where: str
    store: ObjectStore
    layout: Layout

    def rounds(self) -> list[Committed]:
        """The committed rounds, oldest first."""
        with told(self.where):
            return history.committed(self.store, self.layout)

    def pull(self, target: Path, round_: int | None) -> str:
        """Writes the last committed model, or that of a round, to `target` and returns its SHA-256."""
        found = self.rounds()
        with told(self.where):
            model = history.of_round(found, round_).model
            fetch(self.store, model.key, model.sha256, target)
        return model.sha256

    def repaired(self) -> list[str]:
        """Sets HEAD to the newest round that is whole; what was damaged, and what was done."""
        with told(self.where):
            try:
                return list(salvage.repaired(self.store, self.layout))
            except FatalError as error:
                raise CommandError(f"{self.where}: {error}") from error
            except HeadMovedError as error:
                text = (
                    f"{self.where}: {error} meanwhile: suspend the job (spec.suspend), and repair again if it needs it"
                )
                raise CommandError(text) from error


def bucket_of(job: Json, credentials: Path | None) -> Bucket | None:
    """The bucket of a FederatedJob; None: its store is a volume."""
    metadata = job["metadata"]
    place = Storage.model_validate(job["spec"].get("storage") or {}).bucket
    if place is None:
        return None
    where = place.location().text()
    with told(where):
        store = open_store(where, credentials)
    return Bucket(where, store, Layout(metadata["namespace"], metadata["name"], metadata["uid"]))


@contextmanager
def told(where: str) -> Iterator[None]:
    """Errors of the store as those of a command."""
    try:
        yield
    except MissingError as error:
        raise CommandError(f"{where}: {error}") from error
    except HistoryDamagedError as error:
        raise CommandError(f"{where}: its records are damaged: {error}: restore the job from a backup") from error
    except NewerRecordError as error:
        raise CommandError(f"{where}: its records cannot be read by this version: {error}") from error
    except StoreError as error:
        way_out = "give --credentials FOLDER, or what the cloud's SDK looks for (docs/storage.md)"
        raise CommandError(f"{where}: {error}: {way_out}") from error
