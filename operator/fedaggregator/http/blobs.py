"""Models out and updates in, and states that sites entrust, by signed URL. Threads move what is large, TLS and all (bulk.py).

A URL is good for the site that it was made for, while that site is in the job; one to write an update with also no longer than
its attempt takes that site's update, which is looked at before, during and at the end of a transfer. What a site entrusts
belongs to no attempt.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fedaggregator import accesslog, metrics
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.fingerprints import Fingerprints
from fedaggregator.engine.initial import InitialModel
from fedaggregator.engine.intake import Intake
from fedaggregator.errors import BodyEndedError, RequestRefusedError
from fedaggregator.http import messages, protocol, ranges, refusals
from fedaggregator.http.pace import Pace
from fedaggregator.http.protocol import Http
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.http.transfers import Transfers
from fedaggregator.limits import Limits
from fedaggregator.ports import INITIALIZER, Holder, Identity
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.rounds import admission
from fedcore.rounds.state import State
from fedstore.errors import ContentMismatchError, MissingError, StoreError
from fedstore.objectstore import ObjectStore, Reader, Writer

_LARGE = 1 << 20  # from here on threads move a body (bulk.py); the connection, which has grown by it, is not kept
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
        threads: ThreadPoolExecutor,
        fingerprints: Fingerprints,
        identity: Identity,
    ) -> None:
        self._engine, self._intake, self._initial, self._threads = engine, intake, initial, threads
        self._store, self._urls, self._limits, self._fingerprints = store, urls, limits, fingerprints
        self._transfers, self._identity = Transfers(limits), identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET or PUT."""
        method, holder = scope["method"], Holder("")
        accesslog.note(action="upload" if method == "PUT" else "download")
        try:
            blob, holder = self._checked(method, scope["path_params"]["key"], scope["query_string"])
            if doubt := self._identity.url_doubt(holder, protocol.shown(scope)):
                raise _refused("Unauthorized", doubt)
            if holder.round:
                accesslog.concerns(holder)
            self._alive(method, holder)
            protocol.proved(scope, holder.client, "SignedUrl")
            async with self._transfers.turn(method, holder.client):
                await (
                    self._put(blob, holder, scope, receive, send) if method == "PUT" else self._get(blob, scope, send)
                )
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
        if method == "PUT" and holder.round:
            refusal = admission.unwanted(state, client, holder.round, holder.attempt)
        else:
            refusal = admission.stranger(state, client)
        if refusal is not None:
            raise RequestRefusedError(refusal)

    async def _get(self, blob: ObjectRef, scope: Scope, send: Send) -> None:
        with ExitStack() as files:
            try:
                reader = files.enter_context(self._store.reader(blob.key))
            except MissingError as error:
                if blob.key in _fetched(self._engine.state):
                    await self._engine.check_model()
                raise _refused("Missing", "the object is gone: ask next") from error
            part = ranges.asked(reader, Headers(scope=scope).get("range"))
            sent = part or reader
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", str(sent.size).encode()),
                (b"etag", f'"{blob.sha256}"'.encode()),
                *([(b"content-range", part.content_range)] if part else []),
                *_connection(sent.size),
            ]
            await send({"type": "http.response.start", "status": 206 if part else 200, "headers": headers})
            body = bytearray()
            if sent.size < _LARGE:
                body = await self._engine.blocking(_read, sent)
                metrics.BYTES.labels("out").inc(len(body))
            else:
                await self._sent(sent, protocol.connection(scope))
            await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _sent(self, reader: Reader, connection: Http) -> None:
        """A large object. A client that is gone, or does not read, ends the connection."""
        try:
            async with connection.taken(self._threads) as bulk, aclosing(bulk.sent(reader)) as counts:
                async for count in counts:
                    metrics.BYTES.labels("out").inc(count)
                    accesslog.moved(bytes_out=count)
        except BodyEndedError as error:
            accesslog.note(outcome=accesslog.GONE)
            connection.end(stalled=error.stalled)

    async def _put(self, blob: ObjectRef, holder: Holder, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with ExitStack() as files:
                others, writer = await self._engine.blocking(self._begun, files, blob)
                if holder != INITIALIZER:
                    self._intake.check_room(holder.client, others)
                await self._received(writer, blob.size, holder, scope, receive)
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
        writer = files.enter_context(self._store.writer(blob.key, size=blob.size, sha256=blob.sha256))
        return others, self._fingerprints.noted(writer)

    async def _received(self, writer: Writer, size: int, holder: Holder, scope: Scope, receive: Receive) -> None:
        """The body, to the writer; threads take a large one from the connection as soon as its first part is there."""
        pace = Pace(self._limits.stall_s, self._limits.least_bytes_per_s)
        large = size >= _LARGE and Headers(scope=scope).get("content-length") == str(size)
        async with aclosing(messages.chunks(receive, pace)) as parts:
            async for part in parts:
                if large:
                    await self._taken(writer, part, size, holder, protocol.connection(scope))
                    break
                self._came(holder, len(part))
                await self._engine.blocking(_write, writer, part)
        self._alive("PUT", holder)
        await self._engine.blocking(writer.finish)

    async def _taken(self, writer: Writer, part: bytes, size: int, holder: Holder, connection: Http) -> None:
        """A large body, of which one part came the usual way."""
        try:
            async with connection.taken(self._threads) as bulk:
                self._came(holder, len(part))
                await self._engine.blocking(_write, writer, part)
                async with aclosing(bulk.received(writer, size - len(part), connection.answer)) as counts:
                    async for count in counts:
                        accesslog.moved(bytes_in=count)
                        self._came(holder, count)
        except BodyEndedError as error:
            pace = Pace(self._limits.stall_s, self._limits.least_bytes_per_s)
            raise (messages.slow(pace) if error.stalled else messages.incomplete()) from error

    def _came(self, holder: Holder, count: int) -> None:
        """Some bytes of a body are there."""
        self._alive("PUT", holder)
        metrics.BYTES.labels("in").inc(count)


def _fetched(state: State) -> frozenset[str]:
    """Keys of what orders bring now."""
    objects = state.tip.objects if state.tip is not None else ()
    now = state.current.plan.offered if state.current is not None else ()
    return frozenset(ref.key for ref in (*objects, *now))


def _connection(size: int) -> list[tuple[bytes, bytes]]:
    """Header that ends the connection after a large transfer: idle sites would hold what it has grown to."""
    return [(b"connection", b"close")] if size >= _LARGE else []


def _read(reader: Reader) -> bytearray:
    whole = bytearray(reader.size)
    reader.read_into(memoryview(whole), 0)
    return whole


def _write(writer: Writer, part: bytes) -> None:
    writer.write(part)


def _refused(code: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal.model_validate({"code": code, "message": message}))
