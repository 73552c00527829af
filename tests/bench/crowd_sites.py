"""Many scripted sites in one event loop: as little as HTTPS and the protocol allow, so that the hub is what is measured.

`play` is a process' target. A site keeps one connection; each answer is read by its Content-Length.
"""

import asyncio
import hashlib
import secrets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop
from safetensors.numpy import save

from fedapi import names
from fedapi.wire.message import Message
from fedapi.wire.orders import TrainOrder
from fedapi.wire.protocol import FEATURES, PROTOCOL
from fedapi.wire.site import Assignment, EvaluationReport, NextRequest
from fedapi.wire.tokens import site_token
from fedapi.wire.update import HandedUpdate, Payload, UpdateManifest
from tests import certificates
from tests.bench.aggregator_process import UID

HELD_S = 60.0
AGAIN_S = 1.0
AT_ONCE = 64  # connections that are being made


def play(folder: Path, url: str, sites: list[str]) -> None:
    """Until the aggregator says Done to all of them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_play(folder, url, sites))


async def _play(folder: Path, url: str, names_: list[str]) -> None:
    key, context = (folder / names.FILE_JOB_KEY).read_bytes(), certificates.client_context(folder)
    gate = asyncio.Semaphore(AT_ONCE)
    sites = [_Site(name, site_token(key, name), url, context, gate) for name in names_]
    async with asyncio.TaskGroup() as group:
        for site in sites:
            group.create_task(site.run())


class _Site:
    def __init__(self, name: str, token: str, url: str, context: ssl.SSLContext, gate: asyncio.Semaphore) -> None:
        parts = urlsplit(url)
        self._name, self._host, self._port, self._context, self._gate = name, parts.hostname, parts.port, context, gate
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._update = save({"weight": np.full(9, 1e-3, np.float32)})
        self._sha256 = hashlib.sha256(self._update).hexdigest()

    async def run(self) -> None:
        """Rounds until Done."""
        await self._connect()
        while True:
            told = Assignment.model_validate_json(
                await self._post("next", NextRequest(wait_s=HELD_S, protocol=PROTOCOL, features=FEATURES))
            )
            if told.kind == "Done":
                self._writer.close()
                return
            if told.train is not None:
                await self._take_part(told.train)
            elif told.evaluate is not None:
                await self._evaluate(told.evaluate.round, told.evaluate.model.sha256)

    async def _take_part(self, order: TrainOrder) -> None:
        if order.model.content is None or order.inline is None:
            raise RuntimeError(f"{self._name} was sent no model, small as it is")
        if hashlib.sha256(order.model.content).hexdigest() != order.model.sha256:
            raise RuntimeError(f"{self._name} was sent another model than it was told")
        if order.evaluate:
            await self._evaluate(order.round - 1, order.model.sha256)
        update = order.inline.object(self._sha256, len(self._update))
        manifest = UpdateManifest(
            job_uid=UID,
            round=order.round,
            attempt=order.attempt,
            client=self._name,
            base_sha256=order.model.sha256,
            payloads={"update": Payload(object=update)},
            samples=1,
            training_s=0.0,
            nonce=secrets.token_hex(16),
        )
        await self._post("updates", HandedUpdate(body=manifest, content={"update": self._update}))

    async def _evaluate(self, round_: int, sha256: str) -> None:
        metrics = {"accuracy": 0.5, "loss": 1.0}
        report = EvaluationReport(
            job_uid=UID, round=round_, client=self._name, model_sha256=sha256, samples=1, metrics=metrics
        )
        await self._post("evaluations", report)

    async def _post(self, route: str, message: Message) -> bytes:
        return await self._send("POST", f"/v1/sites/{self._name}/{route}", message.model_dump_json().encode())

    async def _connect(self) -> None:
        async with self._gate:
            self._reader, self._writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._context, ssl_handshake_timeout=120
            )

    async def _send(self, method: str, url: str, body: bytes = b"") -> bytes:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        head = f"{method} {target} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        status, fields = _parsed(await self._reader.readuntil(b"\r\n\r\n"))
        answer = await self._reader.readexactly(int(fields["content-length"]))
        if status == 503:  # busy: the connection is closed, and a site comes again
            self._writer.close()
            await asyncio.sleep(AGAIN_S)
            await self._connect()
            return await self._send(method, url, body)
        if status != 200:
            raise RuntimeError(f"{self._name}: {method} {parts.path}: {status} {answer[:300]!r}")
        return answer


def _parsed(head: bytes) -> tuple[int, dict[str, Any]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields}
