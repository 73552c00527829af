"""The store of a job that is a bucket, with the user's own credentials: its committed models, and its repair. Called by modelreader.py.

No pod is made and no Secret is read: who may read the bucket may pull the model, and who may write it may repair it, whatever
the cluster allows him.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fedaggregator.engine import salvage
from fedaggregator.errors import FatalError
from fedapi.crd.storage import Bucket as AnyBucket
from fedapi.crd.storage import Storage
from fedapi.jsonvalue import Json
from fedapi.wire import location
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedcli import releasegate
from fedcli.errors import CommandError
from fedcli.releasegate import Gate
from fedcli.storeerrors import CREDENTIALS, told
from fedstore import history, wholemodel
from fedstore.errors import HeadMovedError
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
    place: AnyBucket
    gate: Gate | None = None

    def rounds(self) -> list[Committed]:
        """The committed rounds, oldest first."""
        with told(self.where, CREDENTIALS):
            return history.committed(self.store, self.layout)

    def pull(self, target: Path, round_: int | None, *, exchanged_alone: bool) -> str:
        """Writes the last committed model, or that of a round, to `target` and returns the file's SHA-256."""
        found = self.rounds()
        with told(self.where, CREDENTIALS):
            commit = history.of_round(found, round_)
            self.check_released(commit.model)
            fetched = partial(fetch, self.store)
            return wholemodel.pulled(fetched, commit.model, commit.initial, target, exchanged_alone=exchanged_alone)

    def check_released(self, model: ObjectRef) -> None:
        """CommandError where its release was asked for, and is not there."""
        if self.gate is not None:
            card = self.store.head(self.layout.card)
            self.gate.check(model, card.data if card else None)

    def initial_model(self, model: ObjectRef) -> Json:
        """A model as a job's task.initialModel: how it was encrypted and who else writes there is nothing to a reader."""
        found = location.below(self.place.location(), model.key)
        match found:
            case location.S3():
                found = replace(found, kms_key="", fence="")
            case location.Gcs():
                found = replace(found, kms_key="")
            case location.Azure():
                found = replace(found, encryption_scope="")
        secret = self.place.credentials_secret_ref
        given = {"credentialsSecretRef": {"name": secret.name}} if secret else {}
        return {"uri": found.text(), "sha256": model.sha256, **given}

    def repaired(self, ledger_key: str) -> list[str]:
        """Sets HEAD to the newest round that is whole; what was damaged, and what was done."""
        with told(self.where, CREDENTIALS):
            try:
                return list(salvage.repaired(self.store, self.layout, ledger_key))
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
    with told(where, CREDENTIALS):
        store = open_store(where, credentials)
    layout = Layout(metadata["namespace"], metadata["name"], metadata["uid"])
    return Bucket(where, store, layout, place, releasegate.of_job(job))
