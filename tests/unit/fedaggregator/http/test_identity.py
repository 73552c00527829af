"""The seam for other identities: a client's certificate reaches the port as the token does."""

import asyncio
import ssl
from datetime import UTC, datetime
from types import SimpleNamespace

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedaggregator.http import protocol
from fedaggregator.http.server import Server
from fedaggregator.limits import Limits
from fedapi import names
from fedapi.wire import subjects
from fedoperator.certificates import LIFETIME
from fedoperator.key_material import Keys, aggregator_files, site_files
from tests.ports import free_port

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = Keys.generated(NOW)


def context_of(folder, purpose, files):
    """A context that trusts the CA of the files and shows their certificate."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    context = ssl.create_default_context(purpose, cafile=str(folder / names.FILE_CA))
    context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    return context


async def asked(client_context, server_context, port):
    """What the server's application is shown of a request with a header."""
    seen = []

    async def route(request):
        seen.append(protocol.shown(request.scope))
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/v1/sites/{client}/next", route, methods=["POST"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http="httptools", lifespan="off", log_config=None)
    config.load()
    server = Server(config, SimpleNamespace(context=server_context, look=lambda: None), Limits())
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context)
    writer.write(b"POST /v1/sites/a/next HTTP/1.1\r\nhost: h\r\nauthorization: Bearer t\r\nconnection: close\r\n\r\n")
    await reader.readline()
    writer.close()
    await server.stopped(serving)
    return seen[0]


def test_a_clients_certificate_reaches_the_port(tmp_path):
    hosts = ["localhost", "127.0.0.1"]
    server_context = context_of(tmp_path / "hub", ssl.Purpose.CLIENT_AUTH, aggregator_files(KEYS, "u", hosts, NOW))
    server_context.verify_mode = ssl.CERT_OPTIONAL
    bare = ssl.create_default_context(cafile=str(tmp_path / "hub" / names.FILE_CA))
    shown = asyncio.run(asked(bare, server_context, free_port()))
    assert (shown.method, shown.path, shown.certificate) == ("POST", "/v1/sites/a/next", None)
    assert shown.headers["Authorization"] == "Bearer t"
    assert "Bearer" not in repr(shown)

    site = context_of(tmp_path / "site", ssl.Purpose.SERVER_AUTH, site_files(KEYS, "u", "a", NOW))
    shown = asyncio.run(asked(site, server_context, free_port()))
    assert shown.certificate.subjects == (subjects.site("u", "a"),)
    assert shown.certificate.ends == (NOW + LIFETIME).timestamp()
