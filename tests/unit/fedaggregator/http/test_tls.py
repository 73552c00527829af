"""A connection that is taken for a large body while the kernel has not taken what was written before, or that is lost."""

import asyncio
import ssl
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from fedaggregator.errors import BodyEndedError
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
    """A connection that can be taken."""

    async def take(self, threads):
        return threads

    async def give_back(self):
        pass


def test_a_connection_that_ends_with_a_body_has_ended_it():
    async def run():
        http = Http(uvicorn.Config(None, lifespan="off", log_config=None), ServerState(), Limits())
        http.transport, http.cycle = Taken(), None
        async with http.taken("threads") as bulk:
            assert bulk == "threads"

    with pytest.raises(BodyEndedError):
        asyncio.run(run())
