"""A site that speaks the protocol but trains nothing: fetches the model, sends a prepared update. Used for load."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from fedapi import names
from fedapi.wire.message import Message
from fedapi.wire.orders import TrainOrder
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.site import Assignment, NextRequest, UploadGrant, UploadRequest
from fedapi.wire.tokens import site_token
from fedapi.wire.update import Payload as Sent
from fedapi.wire.update import UpdateEnvelope, UpdateManifest
from tests.bench.aggregator_process import UID, Running

CHUNK = 1 << 20


@dataclass(frozen=True)
class Payload:
    """The update that every site sends."""

    file: Path
    sha256: str
    size: int

    @classmethod
    def of(cls, file: Path) -> "Payload":
        """A file with its digest."""
        with file.open("rb") as opened:
            return cls(file, hashlib.file_digest(opened, "sha256").hexdigest(), file.stat().st_size)


@dataclass(frozen=True)
class ScriptedSite:
    """One site."""

    name: str
    url: str
    client: httpx.Client
    token: str

    @classmethod
    def of(cls, name: str, aggregator: Running, client: httpx.Client) -> "ScriptedSite":
        """A site of this aggregator's job."""
        key = (aggregator.folder / names.FILE_JOB_KEY).read_bytes()
        return cls(name, aggregator.url, client, site_token(key, name))

    def ask(self, wait_s: float) -> Assignment:
        """What to do."""
        return Assignment.model_validate_json(self._post("next", NextRequest(wait_s=wait_s, protocol=PROTOCOL)))

    def takes_part(self, payload: Payload) -> None:
        """One round: waits for the order, fetches the model, announces, sends and declares the update."""
        order = self._order()
        self._fetch(order)
        asked = UploadRequest(round=order.round, attempt=order.attempt, sha256=payload.sha256, size=payload.size)
        grant = UploadGrant.model_validate_json(self._post("uploads", asked))
        headers = {**grant.headers, "Content-Length": str(payload.size)}
        self.client.put(grant.url, content=_chunks(payload.file), headers=headers).raise_for_status()
        manifest = UpdateManifest(
            job_uid=UID,
            round=order.round,
            attempt=order.attempt,
            client=self.name,
            base_sha256=order.model.sha256,
            payloads={"update": Sent(object=grant.object)},
            samples=1,
            training_s=0.0,
            nonce=secrets.token_hex(16),
        )
        self._post("updates", UpdateEnvelope(body=manifest))

    def _order(self) -> TrainOrder:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if (order := self.ask(20).train) is not None:
                return order
        raise TimeoutError(f"{self.name} was not asked to train")

    def _fetch(self, order: TrainOrder) -> None:
        digest = hashlib.sha256()
        with self.client.stream("GET", order.model.url) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != order.model.sha256:
            raise RuntimeError(f"{self.name} was sent another model than it was told")

    def _post(self, route: str, message: Message) -> bytes:
        url = f"{self.url}/v1/sites/{self.name}/{route}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        answer = self.client.post(url, content=message.model_dump_json(), headers=headers)
        if answer.is_error:
            raise RuntimeError(f"{url}: {answer.status_code} {answer.text[:300]}")
        return answer.content


def _chunks(file: Path) -> "object":
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
