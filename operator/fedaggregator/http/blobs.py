"""Models out and updates in, by signed URL. Streams both ways; hashing and disk run in a thread, one chunk ahead.

A URL is good for the site that it was made for, while that site is in the job; one to write with also no longer than
its attempt takes that site's update, which is looked at before, during and at the end of a transfer. Chunks shrink when
many sites transfer at once, so that the memory of all transfers together stays bounded.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fedaggregator import metrics
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.initial import INITIALIZER, InitialModel
from fedaggregator.engine.intake import Intake
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol, refusals
from fedaggregator.http.pace import Pace
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.http.transfers import Transfers
from fedaggregator.limits import Limits
from fedaggregator.ports import Holder
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.rounds import admission
from fedstore.errors import ContentMismatchError, MissingError, StoreError
from fedstore.objectstore import ObjectStore, Reader, Writer

_LARGEST_CHUNK, _SMALLEST_CHUNK, _ALL_CHUNKS = 256 << 10, 64 << 10, 4 << 20
_CLOSING = 1 << 20  # after so much a connection is not kept: OpenSSL has grown its buffers to a chunk
_MOST_FIELDS = 16  # of a URL's query; ours have five


class Blobs:
    """An ASGI application for one path below the blob prefix."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        initial: InitialModel,
        store: ObjectStore,
        urls: UrlSigner,
        limits: Limits,
    ) -> None:
        self._engine, self._intake, self._initial = engine, intake, initial
        self._store, self._urls, self._limits = store, urls, limits
        self._transfers = Transfers(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET or PUT."""
        method, holder = scope["method"], Holder("")
        try:
            blob, holder = self._checked(method, scope["path_params"]["key"], scope["query_string"])
            self._alive(method, holder)
            protocol.proved(scope, holder.client)
            async with self._transfers.turn(method, holder.client):
                await (self._put(blob, holder, receive, send) if method == "PUT" else self._get(blob, receive, send))
        except RequestRefusedError as error:
            answer = await self._refused(holder, error.refusal)
            await answer(scope, receive, send)

    async def _refused(self, holder: Holder, refusal: Refusal) -> Response:
        """Counts a refusal; the answer in words that its reader has: the init step is of this version."""
        if holder == INITIALIZER:
            self._initial.refused(refusal)
            return refusals.answer(refusal)
        await self._intake.refused(holder.client, refusal)
        return refusals.answer(refusal, self._engine.state.protocol(holder.client))

    def _checked(self, method: str, key: str, query: bytes) -> tuple[ObjectRef, Holder]:
        """What a URL is for, and whom it was made for."""
        try:
            fields = dict(parse_qsl(query.decode("ascii", "replace"), max_num_fields=_MOST_FIELDS))
        except ValueError as error:
            raise _refused("Unauthorized", "the URL is not one that this aggregator signed") from error
        blob = self._urls.checked(method, key, fields, self._engine.clock())
        return blob, Holder.of(fields["holder"])

    def _alive(self, method: str, holder: Holder) -> None:
        """RequestRefusedError when the site may not use its URL any more."""
        state, client = self._engine.state, holder.client
        if holder == INITIALIZER:
            self._initial.check_wanted()
            return
        if method == "PUT":
            refusal = admission.unwanted(state, client, holder.round, holder.attempt)
        else:
            refusal = admission.stranger(state, client)
        if refusal is not None:
            raise RequestRefusedError(refusal)

    async def _get(self, blob: ObjectRef, receive: Receive, send: Send) -> None:
        with ExitStack() as files:
            try:
                reader = files.enter_context(self._store.reader(blob.key))
            except MissingError as error:
                tip = self._engine.state.tip
                if tip is not None and blob.key == tip.model.key:
                    await self._engine.check_model()
                raise _refused("Missing", "the object is gone: ask next") from error
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", str(reader.size).encode()),
                (b"etag", f'"{blob.sha256}"'.encode()),
                *_connection(reader.size),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            gone = asyncio.ensure_future(messages.gone(receive))
            try:
                async with contextlib.aclosing(self._parts(reader)) as parts:
                    async for part in parts:
                        if gone.done():  # nobody is there to read it: neither do we
                            return
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                        metrics.BYTES.labels("out").inc(len(part))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                gone.cancel()

    async def _parts(self, reader: Reader) -> AsyncGenerator[bytearray]:
        """The object's bytes; the next part is read while this one is sent."""
        position, size = 0, reader.size
        ahead = self._read(reader, 0, size)
        try:
            while position < size:
                part = await ahead
                position += len(part)
                if position < size:
                    ahead = self._read(reader, position, size)
                yield part
        finally:
            await asyncio.gather(
                ahead, return_exceptions=True
            )  # the file is closed only after the thread is done with it

    def _read(self, reader: Reader, position: int, size: int) -> asyncio.Future[bytearray]:
        length = min(self._chunk(), size - position)
        return asyncio.ensure_future(self._engine.blocking(_read, reader, position, length))

    async def _put(self, blob: ObjectRef, holder: Holder, receive: Receive, send: Send) -> None:
        try:
            with ExitStack() as files:
                others, writer = await self._engine.blocking(self._begun, files, blob)
                if holder != INITIALIZER:
                    self._intake.check_room(holder.client, others)
                await self._received(writer, holder, receive)
            if holder == INITIALIZER:
                await self._initial.keep_only(blob)
        except ContentMismatchError as error:
            raise _refused(error.code, str(error)) from error
        except StoreError as error:
            self._engine.store_failed(error)
            raise _refused(
                "StoreFull", f"the store cannot take it now: {type(error).__name__}, send it again"
            ) from error
        headers = [(b"content-length", b"0"), (b"etag", f'"{blob.sha256}"'.encode()), *_connection(blob.size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _begun(self, files: ExitStack, blob: ObjectRef) -> tuple[int, Writer]:
        """How many other updates the site has stored, and the object in the making."""
        others = self._intake.others(blob)
        return others, files.enter_context(self._store.writer(blob.key, size=blob.size, sha256=blob.sha256))

    async def _received(self, writer: Writer, holder: Holder, receive: Receive) -> None:
        """The body, to the writer: one batch is hashed and written while the next one arrives; the last one ends it."""
        writing: asyncio.Future[None] | None = None
        held: list[bytes] = []
        try:
            async for batch in self._batches(receive):
                self._alive("PUT", holder)
                if writing is not None:
                    await writing
                if held:
                    writing = asyncio.ensure_future(self._engine.blocking(_write, writer, held))
                held = batch
                metrics.BYTES.labels("in").inc(sum(map(len, batch)))
        finally:
            if writing is not None:  # the writer may be closed only after the thread is done with it
                await writing
        self._alive("PUT", holder)
        await self._engine.blocking(_finish, writer, held)

    async def _batches(self, receive: Receive) -> AsyncIterator[list[bytes]]:
        batch, size = [], 0
        async for chunk in messages.chunks(receive, Pace(self._limits.stall_s, self._limits.least_bytes_per_s)):
            batch.append(chunk)
            size += len(chunk)
            if size >= self._chunk():
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _chunk(self) -> int:
        return max(_SMALLEST_CHUNK, min(_LARGEST_CHUNK, _ALL_CHUNKS // max(1, self._transfers.under_way)))


def _connection(size: int) -> list[tuple[bytes, bytes]]:
    """Header that ends the connection after a large transfer: idle sites would hold what it has grown to."""
    return [(b"connection", b"close")] if size >= _CLOSING else []


def _read(reader: Reader, position: int, length: int) -> bytearray:
    chunk = bytearray(length)
    reader.read_into(memoryview(chunk), position)
    return chunk


def _write(writer: Writer, batch: list[bytes]) -> None:
    for part in batch:
        writer.write(part)


def _finish(writer: Writer, batch: list[bytes]) -> None:
    _write(writer, batch)
    writer.finish()


def _refused(code: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal.model_validate({"code": code, "message": message}))
