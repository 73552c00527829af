"""kopf within the operator's event loop, against an API server that never answers: whose the signals are."""

import asyncio
import signal
import ssl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fedoperator.cluster.cache import Cache
from fedoperator.handlers.runtime import Watches, streams
from fedoperator.queueing import WorkQueue
from fedoperator.watch_health import WatchHealth


class Anonymous:
    """Reaches the API server without credentials."""

    def __init__(self, server):
        self.server = server

    def authorization(self):
        return None

    def tls(self):
        return ssl.create_default_context()


async def silent(request):
    await asyncio.sleep(600)


async def ends_at_turn(turn):
    """The watches begin, and SIGTERM comes in this turn of the event loop; whether it was the operator that took it."""
    stop, loop, asked = asyncio.Event(), asyncio.get_running_loop(), []

    def take_signals():
        loop.add_signal_handler(signal.SIGTERM, take)

    def take():
        asked.append("the operator")
        stop.set()

    def wait(turns):
        if turns:
            loop.call_soon(wait, turns - 1)
        else:
            signal.raise_signal(signal.SIGTERM)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", silent)
    take_signals()
    try:
        async with TestServer(app, shutdown_timeout=0) as server:
            watches = Watches(Cache(), WorkQueue(), WatchHealth(streams(()), 60))
            loop.call_soon(wait, turn)
            await watches.run(Anonymous(str(server.make_url("")).rstrip("/")), (), 60, stop, take_signals)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    return bool(asked)


@pytest.mark.parametrize("turn", range(12))
def test_sigterm_is_for_the_operator_at_every_turn_of_the_start(turn):
    assert asyncio.run(ends_at_turn(turn))
