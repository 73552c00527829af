"""The seam for other identities: a client's certificate reaches the port as the token does."""

import asyncio
import ssl
from types import SimpleNamespace

import uvicorn
from cryptography import x509
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedaggregator.http import protocol
from fedaggregator.http.server import Server
from fedaggregator.limits import Limits
from fedapi import names
from tests.integration.fedaggregator.harness import certificates
from tests.ports import free_port


def context_of(folder, purpose):
    """A context that trusts the CA of the folder and shows its certificate, which is good for either side."""
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
    certificates(tmp_path)
    server_context = context_of(tmp_path, ssl.Purpose.CLIENT_AUTH)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    bare = ssl.create_default_context(cafile=str(tmp_path / names.FILE_CA))
    shown = asyncio.run(asked(bare, server_context, free_port()))
    assert (shown.method, shown.path, shown.certificate) == ("POST", "/v1/sites/a/next", None)
    assert shown.headers["Authorization"] == "Bearer t"
    assert "Bearer" not in repr(shown)

    shown = asyncio.run(asked(context_of(tmp_path, ssl.Purpose.SERVER_AUTH), server_context, free_port()))
    found = x509.load_der_x509_certificate(shown.certificate)
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["localhost"]
