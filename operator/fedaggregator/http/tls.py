"""TLS between a TCP transport and the HTTP protocol, with memory that does not grow with what a client sends.

asyncio's and uvloop's own TLS keep for every connection a read buffer of 256 KiB, and BIOs as large as what went
through them, and they finish a closing only as fast as the peer likes. Here all connections read into one buffer,
nothing is read while the application does not want it, what comes after the last answer is dropped undecrypted, and
every stage has a time that `check` looks after. Made per connection by server.py.
"""

import asyncio
import contextlib
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, cast

from fedaggregator.errors import BodyEndedError
from fedaggregator.http.bulk import Bulk
from fedaggregator.http.connections import Connections, Holder
from fedaggregator.http.pace import Pace
from fedaggregator.http.session import RECORD_BYTES, Session
from fedaggregator.limits import Limits
from fedaggregator.ports import ClientCertificate

_READ_BYTES = 64 << 10  # what one system call brings; filled and emptied within one callback
_BUFFER = memoryview(bytearray(_READ_BYTES))
_DROPPED_BYTES = 4 << 20  # of what a client sends on and on although it has its last answer
_HELD_BYTES = 4 << 10  # the head of an answer, and most answers
_UNSENT_BYTES = 64 << 10  # over so much that the kernel has not taken, the application is asked to wait
_PAUSE_S = 0.01  # between two looks whether all is sent that was written


class Application(Protocol):
    """What is above: the HTTP protocol of one connection."""

    def connection_made(self, transport: Any) -> None:
        """The handshake is done."""

    def data_received(self, data: bytes) -> None:
        """Plain bytes."""

    def eof_received(self) -> Any:
        """The peer sends no more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; not called when there was no handshake."""

    def pause_writing(self) -> None:
        """Enough is waiting to be sent."""

    def resume_writing(self) -> None:
        """Most of it has been sent."""

    def late(self, now: float) -> str:
        """Why what it waits for comes too late; empty when it does not."""


class Tls(asyncio.BufferedProtocol):
    """One connection: the TCP transport's protocol, and the application's transport."""

    def __init__(self, context: ssl.SSLContext, application: Application, table: Connections, limits: Limits) -> None:
        self._context, self._application, self._table, self._limits = context, application, table, limits
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = Session.of(context)  # None: closing or over
        self._raw: asyncio.Transport
        self.holder: Holder = ("address", "")
        self.certificate: ClientCertificate | None = None  # that the client showed
        self._held = bytearray()  # written, to be encrypted with what follows
        self._open = False  # between handshake and loss
        self._reading_paused = self._writing_paused = False
        self._since = self._checked = self._loop.time()  # when this stage began; when it was last looked at
        self._pace = self._fresh_pace()
        self._unsent = self._dropped = 0
        self._taken = False  # out of the loop's hands, or about to be
        self._bulk: Bulk | None = None  # whose hands

    # What the TCP transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: the client has to begin the handshake."""
        self._raw = cast(asyncio.Transport, transport)
        self._raw.set_write_buffer_limits(_UNSENT_BYTES)
        peer = transport.get_extra_info("peername")
        self.holder = ("address", str(peer[0]) if isinstance(peer, tuple) else "")
        self._table.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """The one buffer: it is emptied before anybody else is called."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Encrypted bytes came. What comes after the goodbye is dropped, and not for long."""
        if self._session is None:
            self._dropped += nbytes
            if self._dropped > _DROPPED_BYTES:
                self._table.end(self, "Lingering")
            return
        self._session.incoming.write(_BUFFER[:nbytes])
        if self._open or self._handshaken(self._session):
            self._read()

    def eof_received(self) -> None:
        """The peer hung up; the TCP transport closes itself."""
        if self._open and self._session is not None:
            self._application.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Over, for whatever reason."""
        self._table.closed(self)
        self._session = None
        if self._bulk is not None:
            self._bulk.lost()
        if self._open:
            self._open = False
            self._application.connection_lost(exc)

    def pause_writing(self) -> None:
        """The kernel takes no more for now. A client that does not read its answers is not read either."""
        self._writing_paused, self._unsent = True, self._raw.get_write_buffer_size()
        self._control_reading()
        if self._open:
            self._application.pause_writing()

    def resume_writing(self) -> None:
        """It took most of it."""
        self._writing_paused, self._pace = False, self._fresh_pace()
        self._control_reading()
        if self._open:
            self._application.resume_writing()

    # What the application calls: an asyncio transport.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypts and sends: what is small with what follows within the same turn of the loop, as one record."""
        if len(data) >= _HELD_BYTES:
            self._encrypt(data)
            return
        if not self._held:
            self._loop.call_soon(self._encrypt)
        self._held += data

    def _encrypt(self, data: bytes | bytearray | memoryview = b"") -> None:
        if self._held:
            data, self._held = self._held + data, bytearray()
        if self._session is None or not data:
            return
        try:
            self._session.encrypt(data)
        except ssl.SSLError:  # the peer said goodbye, or broke the protocol
            self.abort()
        else:
            self._flush(self._session)

    def pause_reading(self) -> None:
        """No more data until `resume_reading`."""
        self._reading_paused = True
        self._control_reading()

    def resume_reading(self) -> None:
        """Goes on with what is there and what comes."""
        if self._reading_paused:
            self._reading_paused = False
            self._control_reading()
            self._loop.call_soon(self._read)

    def close(self) -> None:
        """Sends what is waiting and says goodbye; the client has `linger_s` to hang up, what it sends is dropped."""
        if self._bulk is not None:
            self.abort()
            return
        self._encrypt()
        session = self._session
        if session is None:
            return
        with contextlib.suppress(ssl.SSLError):  # it wants to see the client's goodbye, which is not waited for
            session.tls.unwrap()
        self._flush(session)
        self._session, self._since = None, self._loop.time()
        self._control_reading()

    def abort(self) -> None:
        """Ends it at once."""
        self._session = None
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether nothing is taken any more."""
        return self._session is None

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the TCP transport; `sslcontext`, and `ssl_object` as long as there is one."""
        if name == "ssl_object":
            return self._session.tls if self._session is not None else default
        return self._context if name == "sslcontext" else self._raw.get_extra_info(name, default)

    def proved(self, site: str) -> None:
        """A request on this connection showed that it comes from that site."""
        self._table.proved(self, site)

    # What large bodies need.

    async def take(self, threads: ThreadPoolExecutor) -> Bulk:
        """Out of the loop's hands until `give_back`, from now on. BodyEndedError when it is over."""
        self._taken, self._pace = True, self._fresh_pace()
        self._control_reading()
        while self._raw.get_write_buffer_size():  # noqa: ASYNC110 - the transport tells the application only
            await asyncio.sleep(_PAUSE_S)
        if self._session is None or self._raw.is_closing():
            raise BodyEndedError(stalled=False)
        held, self._held = self._held, bytearray()
        try:
            self._session.encrypt(held)
        except ssl.SSLError as error:
            raise BodyEndedError(stalled=False) from error
        self._bulk = Bulk(self._session, self._raw.get_extra_info("socket").fileno(), self._fresh_pace(), threads)
        return self._bulk

    async def give_back(self) -> None:
        """The loop goes on with it."""
        if self._bulk is not None:
            await self._bulk.close()
        self._taken, self._bulk = False, None
        self._control_reading()
        self._loop.call_soon(self._read)

    def answer(self) -> None:
        """Sends what TLS has to say while it is taken; a client that asks on and on and reads nothing is ended."""
        if self._session is not None:
            self._flush(self._session)
            if self._raw.get_write_buffer_size() > _UNSENT_BYTES:
                self.abort()

    def end(self, *, stalled: bool) -> None:
        """A body that cannot go on: it is over at once."""
        if stalled:
            self._table.end(self, "Stalled")
        else:
            self.abort()

    # Time.

    def check(self, now: float) -> str:
        """Why the connection has to end now; called a few times a second."""
        passed, self._checked = now - self._checked, now
        unsent = self._raw.get_write_buffer_size()
        sent, self._unsent = max(0, self._unsent - unsent), unsent
        closing = self._session is None
        if self._bulk is not None:
            return ""  # it has a pace of its own
        if unsent and (self._writing_paused or self._taken or closing):
            return "" if self._pace.moved(passed, sent) else "Stalled"
        if closing:
            return "Lingering" if now - self._since > self._limits.linger_s else ""
        if not self._open:
            return "Handshake" if now - self._since > self._limits.handshake_s else ""
        return self._application.late(now)

    def _fresh_pace(self) -> Pace:
        return Pace(self._limits.stall_s, self._limits.least_bytes_per_s)

    def _control_reading(self) -> None:
        """Reads where somebody wants it; after the goodbye always, to see the client hang up."""
        if self._raw.is_closing():
            return
        if self._session is not None and (self._reading_paused or self._writing_paused or self._taken):
            self._raw.pause_reading()
        else:
            self._raw.resume_reading()

    def _handshaken(self, session: Session) -> bool:
        try:
            session.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush(session)
            return False
        except ssl.SSLError as error:
            self._flush(session)  # the alert that says why
            self._session = None
            self._table.ended(self, *_unfit(error))
            self._raw.close()
            return False
        self._flush(session)
        self._open, self.certificate = True, session.certificate()
        self._application.connection_made(self)
        return True

    def _read(self) -> None:
        """Hands on what can be decrypted, as long as it is wanted."""
        while (session := self._session) is not None and not (self._reading_paused or self._taken):
            parts: list[bytes] = []
            ended = _decrypted(session.tls, parts)
            self._flush(session)  # TLS has things of its own to say
            if parts:
                self._application.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
            if ended:
                self._application.eof_received()
                self.close()
            elif not parts:
                return

    def _flush(self, session: Session) -> None:
        if session.outgoing.pending:
            self._raw.write(session.outgoing.read())


def _unfit(error: ssl.SSLError) -> tuple[str, str]:
    """Why a handshake failed, and what is wrong with the client's certificate where it is that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Certificate", error.verify_message
    return "Handshake", ""


def _decrypted(tls: ssl.SSLObject, parts: list[bytes]) -> bool:
    """Appends all that is there; whether the peer said goodbye, or broke the protocol."""
    try:
        while part := tls.read(RECORD_BYTES):
            parts.append(part)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        return True
    return True
