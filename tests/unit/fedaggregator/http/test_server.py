"""How the HTTPS server ends: what is asked is answered, and nobody waits for sites that ask nothing."""

import asyncio

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedaggregator.http import server as https
from fedaggregator.http.certificate import Certificate
from fedaggregator.limits import Limits
from fedapi import names
from tests.ports import free_port
from tests.unit.fedaggregator.http.test_certificate import NEW, POLL, answered, connect, write
from tests.waiting import PATIENCE_S


def made(folder, port, routes) -> https.Server:
    write(folder, NEW)
    app = Starlette(routes=routes)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http="httptools", lifespan="off", log_config=None)
    config.load()
    certificate = Certificate(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    return https.Server(config, certificate, Limits())


async def stopped_beside_an_idle_site(folder):
    port, asked, held = free_port(), asyncio.Event(), asyncio.Event()

    async def poll(_):
        asked.set()
        await held.wait()
        return PlainTextResponse("done")

    server = made(folder, port, [Route("/v1/sites/{client}/next", poll, methods=["POST"])])
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    _, idle, _ = await connect(folder, port)
    idle.transport.pause_reading()  # it never sees the goodbye
    asking, asking_writer, _ = await connect(folder, port)
    asking_writer.write(POLL)
    await asked.wait()
    stopping = asyncio.create_task(server.stopped(serving))
    while server.servers[0].is_serving():  # noqa: ASYNC110 - nor for this
        await asyncio.sleep(0.01)
    assert not stopping.done()
    with pytest.raises(ConnectionRefusedError):
        await connect(folder, port)
    held.set()
    assert await answered(asking) == (b"200", b"done")
    await stopping
    for each in (idle, asking_writer):
        each.transport.abort()


def test_an_open_request_is_answered_and_an_idle_site_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(https, "_STOP_S", 10 * PATIENCE_S)

    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            await stopped_beside_an_idle_site(tmp_path)

    asyncio.run(bounded())


def test_a_server_that_is_ended_before_it_listens_is_ended(tmp_path):
    """What the process ends for is told, and not that there was no listener yet."""

    async def ended():
        server = made(tmp_path, free_port(), [])
        await server.stopped(asyncio.create_task(server.serve()))
        for listener in server.servers:
            listener.close()

    asyncio.run(ended())
