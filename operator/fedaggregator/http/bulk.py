"""Large bodies between a connection and the disk: TLS, hashing and disk in threads, which the event loop only wakes.

For a body a connection is taken out of the loop's hands (`Tls.take`) and given back after it. The loop waits until the
kernel has bytes, or takes some; a thread then moves as many as there are, at most a burst, so that all have their turn.
OpenSSL, hashlib and the system calls let other threads run meanwhile. Memory: a few buffers per thread, and per
connection what of one part the kernel has not taken. A client that moves too little meanwhile is given up.
"""

import asyncio
import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, cast

from fedaggregator.errors import BodyEndedError
from fedaggregator.http.pace import Pace
from fedaggregator.http.session import RECORD_BYTES, Session
from fedstore.objectstore import Reader, Writer

_PART_BYTES = 112 << 10  # sent at once: encrypted, it is still smaller than what the allocator maps by itself
_WIRE_BYTES = 128 << 10  # received at once
_BATCH_BYTES = 256 << 10  # decrypted, hashed and written at once
_BURST_BYTES = 8 << 20
_MOMENT_MS = 2
_WORTH_BYTES = 64 << 10  # moved since the last moment that was waited for


class _Buffers(threading.local):
    """Of one thread."""

    def __init__(self) -> None:
        sizes = (_PART_BYTES, _WIRE_BYTES, _BATCH_BYTES)
        self.part, self.wire, self.batch = (memoryview(bytearray(size)) for size in sizes)


_buffers = _Buffers()


class _Body(Protocol):
    """What a thread moves on."""

    left: int  # bytes
    waits: bool  # for the kernel

    @property
    def whole(self) -> bool:
        """Whether nothing is left to be done."""

    def burst(self) -> int:
        """Moves what can be moved, and how many bytes of the body that were. Blocking only for the disk."""


class _Moments:
    """Short waits for the kernel in a thread, cheaper than the way through the loop and back.

    One per burst, and one more for bytes that are worth it: else a client that trickles would hold the thread.
    """

    def __init__(self, wire: socket.socket, event: int) -> None:
        self._poll, self._due = select.poll(), 0
        self._poll.register(wire, event)

    def begin(self, left: int) -> None:
        """A burst, with so many bytes left."""
        self._due = left

    def ready(self, left: int) -> bool:
        """Whether the kernel is ready by now."""
        if left > self._due:
            return False
        self._due = left - _WORTH_BYTES
        return bool(self._poll.poll(_MOMENT_MS))


class _Sent:
    """An object on its way out."""

    def __init__(self, session: Session, wire: socket.socket, reader: Reader) -> None:
        self._session, self._wire, self._reader = session, wire, reader
        self.left, self.waits = reader.size, False
        self._moments = _Moments(wire, select.POLLOUT)
        self._unsent = memoryview(b"")  # encrypted

    @property
    def whole(self) -> bool:
        """Whether the kernel has taken all, what was written before the body included."""
        return not (self.left or self._unsent or self._session.outgoing.pending)

    def burst(self) -> int:
        """Encrypts and sends until the kernel takes no more."""
        before, self.waits = self.left, False
        self._moments.begin(before)
        while not (self.whole or self.waits) and before - self.left < _BURST_BYTES:
            if not (self._unsent or self._session.outgoing.pending):
                self._encrypt()
            if not self._unsent:
                self._unsent = memoryview(self._session.outgoing.read())
            try:
                self._unsent = self._unsent[self._wire.send(self._unsent) :]
            except BlockingIOError:
                self.waits = not self._moments.ready(self.left)
        return before - self.left

    def _encrypt(self) -> None:
        part = _buffers.part[: min(_PART_BYTES, self.left)]
        self._reader.read_into(part, self._reader.size - self.left)
        self._session.encrypt(part)
        self.left -= part.nbytes


class _Received:
    """A body on its way in."""

    def __init__(self, session: Session, wire: socket.socket, writer: Writer, size: int) -> None:
        self._session, self._wire, self._writer = session, wire, writer
        self.left, self.waits = size, False
        self._moments = _Moments(wire, select.POLLIN)

    @property
    def whole(self) -> bool:
        """Whether all is decrypted and with the writer."""
        return not self.left

    def burst(self) -> int:
        """Decrypts, writes and receives until the kernel has no more, or TLS has an answer to give."""
        before, came, self.waits = self.left, 0, False
        self._moments.begin(before)
        while not (self.waits or self._session.outgoing.pending) and came < _BURST_BYTES:
            self._decrypt()
            if self.whole:
                break
            came += self._receive()
        return before - self.left

    def _decrypt(self) -> None:
        """All records that are whole, to the writer."""
        read, batch, filled = self._session.tls.read, _buffers.batch, 0
        most = min(self.left, _BATCH_BYTES)
        with contextlib.suppress(ssl.SSLWantReadError):
            while filled < most:
                count = cast(int, read(RECORD_BYTES, cast(Any, batch[filled:most])))
                if not count:
                    raise ConnectionResetError("the client said goodbye")
                filled += count
        if filled:
            self._writer.write(batch[:filled])
            self.left -= filled

    def _receive(self) -> int:
        try:
            count = self._wire.recv_into(_buffers.wire)
        except BlockingIOError:
            self.waits = not self._moments.ready(self.left)
            return 0
        if not count:
            raise ConnectionResetError("the client hung up")
        self._session.incoming.write(_buffers.wire[:count])
        return count


class Bulk:
    """A connection that was taken. `lost` may come at any time; all else is called by one task."""

    def __init__(self, session: Session, fileno: int, pace: Pace, threads: ThreadPoolExecutor) -> None:
        self._session, self._pace, self._threads = session, pace, threads
        self._wire = socket.socket(fileno=os.dup(fileno))  # a descriptor of our own: the loop watches the other
        self._wire.setblocking(False)
        self._lost = False
        self._waiting: asyncio.Future[None] | None = None
        self._moving: asyncio.Future[int] | None = None

    def sent(self, reader: Reader) -> AsyncGenerator[int]:
        """Sends an object: bytes, burst after burst. BodyEndedError when the client is gone, or reads too slowly."""
        loop = asyncio.get_running_loop()
        return self._moved(_Sent(self._session, self._wire, reader), loop.add_writer, loop.remove_writer)

    def received(self, writer: Writer, size: int, answer: Callable[[], None]) -> AsyncGenerator[int]:
        """Receives so many bytes; `answer` sends what TLS has to say. BodyEndedError as above."""
        loop = asyncio.get_running_loop()
        body = _Received(self._session, self._wire, writer, size)
        return self._moved(body, loop.add_reader, loop.remove_reader, answer)

    def lost(self) -> None:
        """The connection is over."""
        self._lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def close(self) -> None:
        """Lets go of it, once no thread is at work."""
        if self._moving is not None and not self._moving.done():
            await asyncio.wait((self._moving,))
        self._wire.close()

    async def _moved(
        self,
        body: _Body,
        watch: Callable[..., None],
        unwatch: Callable[..., object],
        answer: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[int]:
        waited = 0.0
        while not body.whole:
            moved = await self._burst(body)
            answer()
            if not self._pace.moved(waited, moved):
                raise BodyEndedError(stalled=True)
            yield moved
            waited = await self._wait(watch, unwatch) if body.waits and not self._lost else 0.0

    async def _burst(self, body: _Body) -> int:
        if self._lost:
            raise BodyEndedError(stalled=False)
        self._moving = asyncio.get_running_loop().run_in_executor(self._threads, body.burst)
        try:
            return await asyncio.shield(self._moving)
        except OSError as error:  # of the socket, TLS included: those of the disk have types of the store's
            raise BodyEndedError(stalled=False) from error

    async def _wait(self, watch: Callable[..., None], unwatch: Callable[..., object]) -> float:
        """Until the kernel has, or takes, something; how many seconds that took."""
        loop = asyncio.get_running_loop()
        began, woken = loop.time(), loop.create_future()
        self._waiting = woken
        watch(self._wire, _wake, woken)
        try:
            async with asyncio.timeout(self._pace.left_s):
                await woken
        except TimeoutError as error:
            raise BodyEndedError(stalled=True) from error
        finally:
            with contextlib.suppress(ValueError):
                unwatch(self._wire)
        return loop.time() - began


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
