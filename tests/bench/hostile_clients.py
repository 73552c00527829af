"""`python -m tests.bench.hostile_clients URL FOLDER SITE…`: clients that want to hurt an aggregator, one kind after another.

A process of its own, so that its load is not its victim's nor the prober's. Without a token: endless header lines, one
endless header, half-sent requests, bodies that never end, idle connections. With every site's token: endless bodies,
downloads that are hung up on, downloads that nobody reads. All are bounded in number and time. Used by hostile.py.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvloop

from fedapi import names
from fedapi.wire.site import Assignment
from fedapi.wire.tokens import site_token
from tests import certificates

HOLD_S = 2.0  # how long each kind is kept up when everything of it is there
PATIENCE_S = 20.0  # for what the aggregator ends by itself
BLOCK = b"x" * (256 << 10)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Clients:
    """All of them."""

    def __init__(self, url: str, folder: Path, sites: list[str]) -> None:
        self.url, self.folder, self.sites = url, folder, sites
        self.context = certificates.client_context(folder)
        self.key = (folder / names.FILE_JOB_KEY).read_bytes()
        where = urlsplit(url)
        self.host, self.port = where.hostname or "", where.port or 0

    async def open(self) -> Streams:
        """One connection, with its handshake done."""
        return await asyncio.open_connection(self.host, self.port, ssl=self.context, limit=16 << 10)

    async def header_lines(self) -> None:
        """40 MiB of header lines."""
        await self._sends(b"GET /healthz HTTP/1.1\r\n", b"a: " + b"b" * 60 + b"\r\n", 40 << 20)

    async def header_value(self) -> None:
        """One header of 100 MiB."""
        await self._sends(b"GET /healthz HTTP/1.1\r\na: ", BLOCK, 100 << 20)

    async def half_requests(self) -> None:
        """200 requests without an end of their headers."""
        await self._held(200, lambda _: b"POST /v1/sites/x/next HTTP/1.1\r\nhost: x\r\n")

    async def unauthenticated_bodies(self) -> None:
        """200 bodies that never end."""
        await self._held(200, lambda _: b"POST /v1/sites/x/next HTTP/1.1\r\ncontent-length: 1048576\r\n\r\n" + BLOCK)

    async def idle(self) -> None:
        """1,000 connections that say nothing."""
        await self._held(1000, lambda _: b"")

    async def sites_bodies(self) -> None:
        """400 bodies of 1 MiB that lack their last byte."""
        body = BLOCK * 4
        await self._held(400, lambda n: self._post(n, len(body)) + body[1:])

    async def aborted(self) -> None:
        """100 downloads that end after their first bytes."""
        await asyncio.gather(*(self._aborted(n) for n in range(100)), return_exceptions=True)
        await asyncio.sleep(HOLD_S)

    async def stalled(self) -> None:
        """1,000 downloads that nobody reads."""
        await self._held(1000, self._get)

    def _post(self, number: int, size: int) -> bytes:
        site = self.sites[number % len(self.sites)]
        head = f"POST /v1/sites/{site}/next HTTP/1.1\r\nauthorization: Bearer {site_token(self.key, site)}\r\n"
        return f"{head}content-length: {size}\r\n\r\n".encode()

    def _get(self, number: int) -> bytes:
        site = self.sites[number % len(self.sites)]
        where = urlsplit(self._models[site])
        return f"GET {where.path}?{where.query} HTTP/1.1\r\nhost: x\r\n\r\n".encode()

    async def orders(self) -> None:
        """The URL of the model, as each site is told it."""
        self._models: dict[str, str] = {}
        async with httpx.AsyncClient(verify=self.context, trust_env=False, timeout=60) as client:
            for site in [*self.sites, *self.sites]:  # all are heard before anybody is told to train
                headers = {"authorization": f"Bearer {site_token(self.key, site)}"}
                answer = await client.post(
                    f"{self.url}/v1/sites/{site}/next",
                    json={"wait_s": 5 if site in self._models else 0},
                    headers=headers,
                )
                order = Assignment.model_validate_json(answer.content).train
                self._models[site] = order.model.url if order else ""

    async def _sends(self, head: bytes, block: bytes, size: int) -> None:
        _, writer = await self.open()
        try:
            writer.write(head)
            block *= max(1, len(BLOCK) // len(block))
            for _ in range(size // len(block)):
                writer.write(block)
                await writer.drain()
            await asyncio.sleep(HOLD_S)
        finally:
            writer.transport.abort()

    async def _held(self, count: int, request: Callable[[int], bytes]) -> None:
        """So many connections that send this and then neither read nor end."""
        held = await asyncio.gather(*(self._begun(n, request) for n in range(count)), return_exceptions=True)
        await asyncio.sleep(HOLD_S)
        for writer in held:
            if isinstance(writer, asyncio.StreamWriter):
                writer.transport.abort()

    async def _begun(self, number: int, request: Callable[[int], bytes]) -> asyncio.StreamWriter:
        async with self._pace:
            reader, writer = await self.open()
            with contextlib.suppress(TimeoutError, OSError):
                reader._transport.pause_reading()  # type: ignore[attr-defined]  # not even into our own buffer
                writer.write(request(number))
                async with asyncio.timeout(0.5):
                    await writer.drain()
            return writer

    async def _aborted(self, number: int) -> None:
        async with self._pace:
            reader, writer = await self.open()
            writer.write(self._get(number))
            await reader.read(1000)
            writer.transport.abort()

    @property
    def _pace(self) -> asyncio.Semaphore:
        """So many are begun at a time."""
        if not hasattr(self, "_begun_at_once"):
            self._begun_at_once = asyncio.Semaphore(32)
        return self._begun_at_once


async def main(url: str, folder: Path, sites: list[str]) -> None:
    """Every kind, and the next one however the one before ended."""
    clients = Clients(url, folder, sites)
    await clients.orders()
    kinds: list[Callable[[], Awaitable[None]]] = [
        clients.header_lines, clients.header_value, clients.half_requests, clients.unauthenticated_bodies, clients.idle,
        clients.sites_bodies, clients.aborted, clients.stalled,
    ]  # fmt: skip
    for kind in kinds:
        print(kind.__name__, flush=True)
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await kind()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
