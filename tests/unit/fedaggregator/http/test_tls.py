"""A connection that is taken for a large body: what came before it, and what waits behind it."""

import asyncio
import ssl
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from fedaggregator.errors import BodyEndedError
from fedaggregator.http import protocol
from fedaggregator.http.connections import Connections
from fedaggregator.http.protocol import Http
from fedaggregator.http.tls import Tls
from fedaggregator.limits import Limits

UNSENT = 1000


class Raw:
    """A TCP transport whose peer reads nothing."""

    def __init__(self):
        self.aborted, self.unsent = False, UNSENT

    def get_write_buffer_size(self):
        return 0 if self.aborted else self.unsent

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True

    def set_write_buffer_limits(self, high):
        assert high > UNSENT  # so that nobody is asked to wait

    def pause_reading(self):
        pass


class Application:
    """Waits for nothing."""

    def late(self, now):
        return ""


def taking(act):
    """What becomes of `take` when the peer reads nothing and `act` is done meanwhile."""

    async def run():
        limits, raw = Limits(stall_s=60), Raw()
        table = Connections(limits)
        tls = Tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Application(), table, limits)
        tls.connection_made(raw)
        tls._open = True
        taken = asyncio.create_task(tls.take(None))
        await asyncio.sleep(0)
        act(table, raw, asyncio.get_running_loop().time())
        done, _ = await asyncio.wait((taken,), timeout=1)
        taken.cancel()
        with suppress(asyncio.CancelledError):
            assert done or not await taken
        return raw, taken

    return asyncio.run(run())


def test_who_does_not_read_what_was_written_before_a_large_body_is_given_up():
    raw, taken = taking(lambda table, _, now: (table.sweep(now + 59), table.sweep(now + 61)))
    assert raw.aborted
    assert isinstance(taken.exception(), BodyEndedError)


def test_who_reads_some_of_it_is_waited_for():
    def act(table, raw, now):
        table.sweep(now + 59)
        raw.unsent = UNSENT // 100
        table.sweep(now + 59.5)

    raw, taken = taking(act)
    assert not raw.aborted
    assert taken.cancelled()


class Taken:
    """A connection that can be taken, and shows the answers."""

    def __init__(self):
        self.written, self.closed = b"", False

    async def take(self, threads):
        return threads

    async def give_back(self):
        pass

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        self.written += data

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def end(self, *, stalled):
        self.closed = True


def connected(app):
    """A connection whose requests the application answers."""
    http = Http(uvicorn.Config(app, lifespan="off", log_config=None), ServerState(), Limits())
    http.connection_made(Taken())
    return http


def test_a_connection_that_ends_with_a_body_has_ended_it():
    async def run():
        http = connected(None)
        async with http.taken("threads") as bulk:
            assert bulk == "threads"

    with pytest.raises(BodyEndedError):
        asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False])
def test_a_request_that_waits_for_its_turn_does_not_disturb_the_body_before_it(caplog, whole):
    async def app(scope, receive, send):
        connection = protocol.connection(scope)
        headers = [(b"content-length", b"9"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(0)
        if whole:
            async with connection.taken(None):
                pass
        else:
            connection.end(stalled=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def run():
        http = connected(app)
        http.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
        await asyncio.gather(*http.tasks)
        assert http.transport.closed
        return http.transport.written

    assert asyncio.run(run()).count(b"HTTP/1.1 200") == 1
    assert [record for record in caplog.records if record.exc_info] == []
