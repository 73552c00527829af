"""Hands in a finished update: its files first, by grant or in the request itself, then its manifest. Called by work.py and securing.py."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedapi.wire.message import ObjectRef
from fedapi.wire.orders import TrainOrder
from fedapi.wire.site import UploadRequest
from fedapi.wire.update import UPDATE, HandedUpdate, Payload, UpdateManifest
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.checkpoint_store import Finished
from fedtrainer.agent.control import Control
from fedtrainer.agent.patience import Patience, RetryError, persist
from fedtrainer.errors import LinkExpiredError
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Masked:
    """What is said of an update that is masked, or encrypted for a sum."""

    clipped: int  # values that were beyond the range
    tag: bytes | None  # of what is encrypted


class Handing:
    """One site's way to hand in."""

    def __init__(self, settings: TrainerSettings, control: Control, bulk: Bulk) -> None:
        self._settings, self._control, self._bulk = settings, control, bulk

    def hand_in(
        self, order: TrainOrder, finished: Finished, paths: Mapping[str, Path], masked: Masked | None = None
    ) -> None:
        """Once it returns the update is durable at the hub. `paths`: of the payloads, by name."""
        inline = order.inline
        files = {UPDATE: (finished.sha256, finished.size), **finished.beside}
        if inline is not None and sum(size for _, size in files.values()) <= inline.max_bytes:
            objects = {name: inline.object(sha256, size) for name, (sha256, size) in files.items()}
            content = {name: paths[name].read_bytes() for name in files}
        else:
            objects = {name: self.put(order, paths[name], *file) for name, file in files.items()}
            content = {}
        manifest = UpdateManifest(
            job_uid=self._settings.job_uid,
            round=order.round,
            attempt=order.attempt,
            client=self._settings.client,
            base_sha256=order.base_sha256,
            payloads={name: _payload(name, object_, finished, masked) for name, object_ in objects.items()},
            samples=finished.samples,
            steps=finished.steps,
            metrics=finished.metrics,
            training_s=finished.training_s,
            nonce=finished.nonce,
            **({"privacy": finished.privacy} if finished.privacy else {}),
        )
        receipt = self._control.update(HandedUpdate(body=manifest, content=content))
        log.info("round %d attempt %d delivered%s", order.round, order.attempt, " again" if receipt.duplicate else "")

    def put(self, order: TrainOrder, path: Path, sha256: str, size: int) -> ObjectRef:
        """A file of the site's part in an order, to where the hub says."""
        request = UploadRequest(round=order.round, attempt=order.attempt, sha256=sha256, size=size)

        def once() -> ObjectRef:
            grant = self._control.grant(request)
            try:
                self._bulk.upload(path, grant)
            except LinkExpiredError as error:
                raise RetryError(str(error)) from error
            return grant.object

        return persist(f"uploading {path.name}", once, Patience(self._settings.patience_s))


def _payload(name: str, object_: ObjectRef, finished: Finished, masked: Masked | None) -> Payload:
    if masked is not None:
        return Payload(object=object_, masked=True, clipped=masked.clipped, tag=masked.tag)
    codec = finished.codec if name == UPDATE else "None"
    return Payload(codec=codec, object=object_, encryption=finished.encryption)
