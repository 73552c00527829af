"""Models out and updates in, by signed URL. Streams both ways; hashing and disk run in a thread, one chunk ahead.

Chunks shrink when many sites transfer at once, so that the memory of all transfers together stays bounded.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from fedaggregator import metrics
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import Intake
from fedaggregator.errors import RefusedRequest
from fedaggregator.http import refusals
from fedaggregator.http.signedurls import UrlSigner
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore import admission
from fedstore.errors import ContentMismatch, Missing, StoreError
from fedstore.objectstore import ObjectStore, Reader, Writer

_LARGEST_CHUNK, _SMALLEST_CHUNK, _ALL_CHUNKS = 1 << 20, 64 << 10, 4 << 20
_CLOSING = 1 << 20  # a TLS connection keeps buffers as large as what went through it: over this it is not kept
_STALLED_S = 60.0  # a sender that is silent for so long is cut off


class Blobs:
    """An ASGI application for one path below the blob prefix."""

    def __init__(self, engine: Engine, intake: Intake, store: ObjectStore, urls: UrlSigner) -> None:
        self._engine, self._intake, self._store, self._urls = engine, intake, store, urls
        self._transfers = 0
        self._uploads: Counter[str] = Counter()  # under way, by site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET or PUT."""
        key = scope["path_params"]["key"]
        try:
            blob = self._checked(scope["method"], key, scope["query_string"])
        except RefusedRequest as error:
            await self._intake.refused("", error.refusal)
            await refusals.answer(error.refusal)(scope, receive, send)
            return
        try:
            with self._counted():
                await (self._put(blob, receive, send) if scope["method"] == "PUT" else self._get(blob, send))
        except RefusedRequest as error:
            await self._intake.refused(_owner(key), error.refusal)
            await refusals.answer(error.refusal)(scope, receive, send)

    def _checked(self, method: str, key: str, query: bytes) -> ObjectRef:
        fields = dict(parse_qsl(query.decode("ascii", "replace")))
        return self._urls.checked(method, key, fields, self._engine.clock())

    async def _get(self, blob: ObjectRef, send: Send) -> None:
        with ExitStack() as files:
            try:
                reader = files.enter_context(self._store.reader(blob.key))
            except Missing as error:
                tip = self._engine.state.tip
                if tip is not None and blob.key == tip.model.key:
                    await self._engine.check_model()
                raise _refused("Missing", "the object is gone: ask next") from error
            size = reader.size
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", str(size).encode()),
                (b"etag", f'"{blob.sha256}"'.encode()),
                *_connection(size),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            position = 0
            ahead = self._read(reader, 0, size)
            while position < size:
                chunk = await ahead
                position += len(chunk)
                if position < size:
                    ahead = self._read(reader, position, size)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                metrics.BYTES.labels("out").inc(len(chunk))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _read(self, reader: Reader, position: int, size: int) -> asyncio.Future[bytearray]:
        length = min(self._chunk(), size - position)
        return asyncio.ensure_future(self._engine.blocking(_read, reader, position, length))

    async def _put(self, blob: ObjectRef, receive: Receive, send: Send) -> None:
        client = _owner(blob.key)
        try:
            with self._sending(client), self._store.writer(blob.key, size=blob.size, sha256=blob.sha256) as writer:
                await self._intake.check_room(client, blob)
                await self._received(writer, receive)
                await self._engine.blocking(writer.finish)
        except ContentMismatch as error:
            raise _refused(error.code, str(error)) from error
        except StoreError as error:
            self._engine.store_failed(error)
            raise _refused(
                "StoreFull", f"the store cannot take it now: {type(error).__name__}, send it again"
            ) from error
        headers = [(b"content-length", b"0"), (b"etag", f'"{blob.sha256}"'.encode()), *_connection(blob.size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _received(self, writer: Writer, receive: Receive) -> None:
        """The body, to the writer: one batch is hashed and written while the next one arrives."""
        writing: asyncio.Future[None] | None = None
        try:
            async for batch in self._batches(receive):
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(self._engine.blocking(_write, writer, batch))
                metrics.BYTES.labels("in").inc(sum(map(len, batch)))
        finally:
            if writing is not None:  # the writer may be closed only after the thread is done with it
                await writing

    async def _batches(self, receive: Receive) -> AsyncIterator[list[bytes]]:
        batch, size, more = [], 0, True
        while more:
            try:
                async with asyncio.timeout(_STALLED_S):
                    message = await receive()
            except TimeoutError as error:
                raise _refused("Expired", f"nothing was sent for {_STALLED_S:.0f} s: send it again") from error
            if message["type"] == "http.disconnect":
                raise _refused("WrongSize", "the connection ended before the body did: send it again")
            more = message.get("more_body", False)
            batch.append(message.get("body", b""))
            size += len(batch[-1])
            if size >= self._chunk() or not more:
                yield batch
                batch, size = [], 0

    def _chunk(self) -> int:
        return max(_SMALLEST_CHUNK, min(_LARGEST_CHUNK, _ALL_CHUNKS // max(1, self._transfers)))

    @contextmanager
    def _sending(self, client: str) -> Iterator[None]:
        """What a site sends takes room before it is an object: it sends a few at once at most."""
        if self._uploads[client] >= admission.UPLOADS:
            raise _refused("StoreFull", f"site {client!r} sends {self._uploads[client]} updates already: send it again")
        self._uploads[client] += 1
        try:
            yield
        finally:
            self._uploads[client] -= 1

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1


def _connection(size: int) -> list[tuple[bytes, bytes]]:
    """Header that ends the connection after a large transfer: 64 idle sites would hold a megabyte each."""
    return [(b"connection", b"close")] if size >= _CLOSING else []


def _owner(key: str) -> str:
    """The site whose prefix an object is in; empty for models, which are nobody's."""
    parts = key.split("/")
    return parts[3] if parts[0] == "updates" and len(parts) > 4 else ""


def _read(reader: Reader, position: int, length: int) -> bytearray:
    chunk = bytearray(length)
    reader.read_into(memoryview(chunk), position)
    return chunk


def _write(writer: Writer, batch: list[bytes]) -> None:
    for part in batch:
        writer.write(part)


def _refused(code: str, message: str) -> RefusedRequest:
    return RefusedRequest(Refusal.model_validate({"code": code, "message": message}))
