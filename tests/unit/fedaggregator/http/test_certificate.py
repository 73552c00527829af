"""A certificate that ends soon is renewed while a site waits in a long poll: nobody is refused, and nothing is restarted."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import uvicorn
from cryptography import x509
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedaggregator.errors import FatalError
from fedaggregator.http.certificate import Certificate
from fedaggregator.http.server import Server
from fedaggregator.limits import Limits
from fedapi import names
from fedapi.outcome import Exit
from fedoperator.certificates import LIFETIME, renewed_after
from fedoperator.key_material import Keys, aggregator_files
from tests.ports import free_port

NOW = datetime.now(UTC)
KEYS = Keys.generated(NOW - LIFETIME)
HOSTS = ("localhost", "127.0.0.1")
OLD, NEW = (aggregator_files(KEYS, "u", HOSTS, made) for made in (NOW - renewed_after(LIFETIME), NOW))
POLL = b"POST /v1/sites/a/next HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"


def write(folder, files, *which):
    for name in which or files:
        beside = folder / f".{name}"
        beside.write_bytes(files[name])
        beside.replace(folder / name)


def serial(files) -> int:
    return x509.load_pem_x509_certificate(files[names.FILE_TLS_CERT]).serial_number


async def connect(folder, port):
    context = ssl.create_default_context(cafile=str(folder / names.FILE_CA))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return reader, writer, x509.load_der_x509_certificate(der).serial_number


async def answered(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(4)
    return head.split()[1], body


async def while_a_site_waits(folder):
    port, held = free_port(), asyncio.Event()

    async def poll(_):
        await held.wait()
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/v1/sites/{client}/next", poll, methods=["POST"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http="httptools", lifespan="off", log_config=None)
    config.load()
    certificate = Certificate(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    server = Server(config, certificate, Limits())
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer, shown = await connect(folder, port)
    assert shown == serial(OLD)
    writer.write(POLL)

    write(folder, NEW, names.FILE_TLS_CERT)  # half of it: not taken, and nobody is refused
    certificate.look()
    _, between, shown = await connect(folder, port)
    assert shown == serial(OLD)
    write(folder, NEW)
    async with asyncio.timeout(30):
        while shown != serial(NEW):  # the server looks by itself
            between.close()
            await asyncio.sleep(0.1)
            _, between, shown = await connect(folder, port)

    held.set()
    assert await answered(reader) == (b"200", b"done")
    writer.write(POLL)  # and the same connection goes on
    assert await answered(reader) == (b"200", b"done")
    for each in (writer, between):
        each.close()
    await server.stopped(serving)


def test_a_certificate_without_its_key_is_named_at_the_start(tmp_path):
    write(tmp_path, OLD)
    write(tmp_path, NEW, names.FILE_TLS_CERT)
    with pytest.raises(FatalError, match=r"tls\.crt and its key cannot be used") as told:
        Certificate(tmp_path / names.FILE_TLS_CERT, tmp_path / names.FILE_TLS_KEY)
    assert told.value.code is Exit.BAD_SETTINGS


def test_a_new_certificate_is_taken_while_a_site_waits(tmp_path):
    write(tmp_path, OLD)
    asyncio.run(while_a_site_waits(tmp_path))
