"""The port of probes and metrics: what it answers, and what one client can cost it."""

import asyncio
from http import HTTPStatus

import pytest

from fedaggregator.errors import FatalError
from fedaggregator.http import monitoring
from fedaggregator.http.monitoring import CONNECTIONS, HEAD_BYTES, Answer, Monitoring
from tests.ports import free_port

ROUTES = {
    "/healthz": lambda: Answer(HTTPStatus.OK, "text/plain", b"ok"),
    "/metrics": lambda: Answer(HTTPStatus.OK, "text/plain", b"m" * (4 << 20)),
}


def serving(act):
    """Runs `act(port)` beside a server."""

    async def run():
        port = free_port()
        async with Monitoring(ROUTES, "127.0.0.1", port):
            return await act(port)

    return asyncio.run(run())


async def sent(port, data):
    """All that is answered; empty when the connection was cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1", b"200 OK", b"ok"),
        (b"GET /healthz?verbose HTTP/1.0", b"200 OK", b"ok"),
        (b"POST /healthz HTTP/1.1", b"405 Method Not Allowed", b"GET it"),
        (b"GET /v1/sites/a/next HTTP/1.1", b"404 Not Found", b"there are /healthz, /metrics"),
        (b"\x16\x03\x01", b"404 Not Found", b"there are /healthz, /metrics"),
    ],
)
def test_what_it_answers(line, status, body):
    head, _, found = serving(lambda port: sent(port, line + b"\r\nhost: x\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in head
    assert found == body


def test_a_long_answer_is_whole():
    answer = serving(lambda port: sent(port, b"GET /metrics HTTP/1.1\r\n\r\n"))
    assert answer.endswith(b"\r\n\r\n" + b"m" * (4 << 20))


def test_a_head_that_does_not_end_is_cut():
    assert serving(lambda port: sent(port, b"GET /healthz HTTP/1.1\r\na: " + b"b" * (2 * HEAD_BYTES))) == b""


def test_who_says_nothing_or_reads_nothing_is_cut_in_time(monkeypatch):
    monkeypatch.setattr(monitoring, "WITHIN_S", 0.2)

    async def act(port):
        async with asyncio.timeout(30):
            assert await sent(port, b"GET /hea") == b""
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            await asyncio.sleep(1.0)  # it does not read
            monkeypatch.undo()
            answered = await sent(port, b"GET /healthz HTTP/1.1\r\n\r\n")
            writer.close()
            return answered

    assert serving(act).endswith(b"ok")


def test_few_at_once_and_again_when_they_have_gone():
    async def act(port):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0.1)
        over = await sent(port, b"GET /healthz HTTP/1.1\r\n\r\n")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        return over, await sent(port, b"GET /healthz HTTP/1.1\r\n\r\n")

    over, after = serving(act)
    assert over == b""
    assert after.endswith(b"ok")


def test_a_port_that_is_taken_is_named():
    async def act(port):
        async with Monitoring(ROUTES, "127.0.0.1", port):
            raise AssertionError("it listens twice")

    with pytest.raises(FatalError, match=r"FEDLOOM_MONITORING_PORT=\d+: it cannot be listened on"):
        serving(act)
