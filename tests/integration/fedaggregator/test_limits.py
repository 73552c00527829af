"""What one client may cost the aggregator: each limit of fedaggregator.limits, made small, by a client that ignores it.

Every test ends with sites that are served as before; the harness fails on a traceback in the log.
"""

import re
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.limits import Limits
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, https, monitored, until
from tests.integration.fedaggregator.raw import asking, connected

SMALL = {
    "UNAUTHENTICATED": 12, "CONNECTIONS_PER_SITE": 6, "TRANSFERS": 2, "DOWNLOADS_PER_SITE": 2, "TRANSFER_WAIT_S": 0.2,
    "HEADERS": 32, "HANDSHAKE_S": 1.0, "HEADER_S": 1.0, "STALL_S": 1.0, "LEAST_BYTES_PER_S": 4096, "LINGER_S": 0.5,
}  # fmt: skip
BIG = {"layer.weight": np.ones((16 << 20) // 4, np.float32)}  # more than the kernel takes for a connection
LIMITS = Limits()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    env = {f"FEDLOOM_HTTP_{name}": str(value) for name, value in SMALL.items()}
    settings = config(("a", "b", "c"), rounds=1, quorum=1, deadline_s=600)
    job = JobFolder(tmp_path_factory.mktemp("limits"), settings, model=BIG, extra_env=env)
    with Aggregator(job).ready() as aggregator:
        for client in "abc":
            Site(job, client).next(0.0)
        yield job, aggregator


@pytest.fixture(autouse=True)
def served_as_before(hub):
    yield
    job, _ = hub
    assert monitored(job, "/healthz").status_code == 200
    assert Site(job, "c").next(0.0).kind == "Train"


def metric(job: JobFolder, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", monitored(job, "/metrics").text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def ended(job: JobFolder, reason: str) -> float:
    return metric(job, f'fedloom_aggregator_connections_ended_total{{reason="{reason}"}}')


@pytest.mark.parametrize(
    ("head", "unit", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\na: ", b"b" * 65536, 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"a" * 65536, b"a" * 65536, 431),
        (b"GET /", b"c" * 65536, 414),
        (b"POST /v1/sites/a/next HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"trailer: x\r\n", 401),
        (b"GET /nowhere HTTP/1.1\r\n\r\n" * 50, b"GET /nowhere HTTP/1.1\r\n\r\n" * 1000, 404),
        (b"\x00\x01\x02\x03", b"\xff" * 1000, 400),
        (b"POST /nowhere HTTP/1.1\r\ncontent-length: 9999999999\r\n\r\n", b"x" * 65536, 404),
    ],
    ids=["lines", "value", "name", "url", "trailers", "pipeline", "noise", "no route"],
)
def test_what_never_ends_is_answered_and_ended(hub, head, unit, status):
    job, _ = hub
    with connected(job) as raw:
        raw.send(head)
        sent = 0
        while raw.send(unit):
            sent += len(unit)
            assert sent < 64 << 20, "the aggregator reads on and on"
    with connected(job) as raw:  # a client that stops soon gets the answer, unless another one was under way
        raw.send(head + unit * max(1, 40_000 // len(unit)))
        assert raw.status() in (status, 0 if status in (404, 401) else status)


def test_silence_is_ended_at_every_stage(hub):
    job, _ = hub
    before = {reason: ended(job, reason) for reason in ("Handshake", "Header")}
    with ExitStack() as stack:
        plain = [stack.enter_context(socket.create_connection(("127.0.0.1", job.port), timeout=30)) for _ in range(3)]
        plain[1].send(b"\x16\x03\x01")  # the beginning of a handshake
        plain[2].send(b"GET /healthz HTTP/1.1\r\n\r\n")  # none at all
        silent, half, second = (stack.enter_context(connected(job)) for _ in range(3))
        half.send(b"POST /v1/sites/a/next HTTP/1.1\r\nhost:")
        second.send(asking("a", content_length=14) + b'{"wait_s": 0}\n' + b"POST /v1")
        for sock in plain:
            while sock.recv(100):
                pass
        assert silent.rest() == b""
        assert half.rest() == b""
        assert second.status() == 200
    assert ended(job, "Handshake") >= before["Handshake"] + 3
    assert ended(job, "Header") >= before["Header"] + 3


@pytest.mark.parametrize(
    "head", [{"content_length": 9999}, {"transfer_encoding": "chunked"}], ids=["length", "chunked"]
)
@pytest.mark.parametrize("dribble", [b"", b"1\r\n \r\n", b"1;" + b"e" * 50], ids=["silent", "slow", "extension"])
def test_bodies_that_do_not_end_are_given_up(hub, head, dribble):
    job, _ = hub
    with connected(job) as raw:
        raw.send(asking("a", **head) + dribble)
        raw.socket.settimeout(0.1)
        answer, waits = b"", 0
        while b"\r\n\r\n" not in answer:
            try:
                answer += raw.socket.recv(65536)
            except TimeoutError:
                waits += 1
                raw.send(dribble)
                assert waits < 300, "it is waited for"
            except OSError:
                break
        assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 422")), answer


@pytest.mark.parametrize("kind", ["message", "upload", "download"])
@pytest.mark.parametrize("trailer", [b"", b"a: "], ids=["name", "value"])
def test_a_trailer_that_never_ends_is_ended(hub, kind, trailer):
    """The parser keeps a header until it is whole: a request that somebody waits for may have one of any length."""
    job, _ = hub
    site = Site(job, "a")
    order = site.next().train
    head = {
        "message": lambda: asking("a", transfer_encoding="chunked"),
        "upload": lambda: blob_request("PUT", site.grant(order, save(BIG)).url, "transfer-encoding: chunked"),
        "download": lambda: blob_request("GET", order.model.url, "transfer-encoding: chunked"),
    }[kind]()
    with connected(job) as raw:
        raw.send(head + b"1\r\n{\r\n0\r\n" + trailer)
        sent = 0
        while raw.send(b"a" * 65536):
            sent += 65536
            assert sent < 32 << 20, "the aggregator reads on and on"
    until(lambda: downloads_are_free(job))


def test_large_messages_are_refused_before_they_are_there(hub):
    job, _ = hub
    with connected(job) as raw:
        raw.send(asking("a", content_length=1 << 20) + b" " * (LIMITS.message_bytes + 1))
        assert raw.status() == 413


def test_idle_connections_lock_nobody_out(hub):
    job, _ = hub
    site = Site(job, "b")
    site.next(0.0)
    before = ended(job, "Crowded")
    with ExitStack() as stack:
        for _ in range(4 * SMALL["UNAUTHENTICATED"]):
            stack.enter_context(connected(job))
        assert metric(job, "fedloom_aggregator_connections") <= SMALL["UNAUTHENTICATED"] + 12
        assert site.next(0.0).kind == "Train"  # on the connection that it had
        assert Site(job, "b").next(0.0).kind == "Train"  # and on a new one
    assert ended(job, "Crowded") > before


def test_a_site_uses_up_its_own_share_only(hub):
    job, _ = hub
    other = Site(job, "b")
    with ExitStack() as stack:
        raws = [stack.enter_context(connected(job)) for _ in range(10)]
        for raw in raws:
            raw.send(asking("a", content_length=20) + b'{"wait_s": 60')  # an unfinished body
            other.next(0.0)
        assert raws[0].status() in (0, 408)
        assert metric(job, "fedloom_aggregator_connections") <= SMALL["UNAUTHENTICATED"] + 12


def blob_request(method: str, blob: str, *headers: str) -> bytes:
    url = urlsplit(blob)
    return "\r\n".join([f"{method} {url.path}?{url.query} HTTP/1.1", "host: x", *headers, "", ""]).encode()


def download_request(site: Site) -> bytes:
    return blob_request("GET", site.next().train.model.url)


def test_a_download_ends_with_its_client(hub):
    job, _ = hub
    request = download_request(Site(job, "b"))
    before = metric(job, 'fedloom_aggregator_blob_bytes_total{direction="out"}')
    for _ in range(5):
        with connected(job) as raw:
            raw.send(request)
            assert raw.socket.recv(100)
    until(lambda: downloads_are_free(job))
    sent = metric(job, 'fedloom_aggregator_blob_bytes_total{direction="out"}') - before
    assert sent < 5 * BIG["layer.weight"].nbytes  # together with the whole one that `downloads_are_free` fetched


def downloads_are_free(job: JobFolder) -> bool:
    site = Site(job, "c")
    return site.http.get(site.next().train.model.url).status_code == 200


def test_stalled_downloads_are_bounded_and_ended(hub):
    job, _ = hub
    requests, refusals = [download_request(Site(job, client)) for client in "aab"], "fedloom_aggregator_refusals_total"
    busy = metric(job, f'{refusals}{{code="Busy"}}')

    def the_third_is_refused() -> bool:
        """Unless it comes so late, as on a slow machine, that the first has stalled already."""
        before = ended(job, "Stalled")
        with ExitStack() as stack:
            for request in requests:
                stack.enter_context(connected(job)).send(request)
            until(lambda: ended(job, "Stalled") >= before + 2)
        return metric(job, f'{refusals}{{code="Busy"}}') > busy

    until(the_third_is_refused)
    until(lambda: downloads_are_free(job))


def test_a_slow_but_steady_reader_gets_everything(hub):
    """Slower than the stall time allows for the whole, faster than the least rate."""
    job, _ = hub
    request = download_request(Site(job, "b"))
    with connected(job) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        raw.send(request)
        received = 0
        while part := raw.socket.recv(256 << 10):
            received += len(part)
        assert received > BIG["layer.weight"].nbytes


def test_an_upload_that_stops_is_told_so_and_leaves_nothing(hub):
    job, _ = hub
    site = Site(job, "a")
    request = blob_request("PUT", site.grant(site.next().train, save(BIG)).url, f"content-length: {1 << 20}")
    with connected(job) as raw:
        raw.send(request + b"x" * 9999)
        assert raw.status() == 408
    with connected(job) as raw:  # and one whose client is gone
        raw.send(request)
    until(lambda: metric(job, 'fedloom_aggregator_refusals_total{code="Incomplete"}') >= 1)
    until(lambda: not list((job.root / "store" / ".tmp").iterdir()))


def test_refusals_are_counted_and_logged_in_one_short_line_each(hub):
    job, aggregator = hub
    evil = "\x1b[2Jevil\n" * 900
    lines = len(aggregator.log().splitlines())
    for code, send in {
        "Malformed": lambda http: http.post("/v1/sites/a/next", json={evil: evil}),
        "Unauthorized": lambda http: http.post(f"/v1/sites/{'x' * 2000}/next", content=b"{}"),
        "NoRoute": lambda http: http.get(f"/{'y' * 2000}"),
    }.items():
        name = f'fedloom_aggregator_refusals_total{{code="{code}"}}'
        before = metric(job, name)
        send(https(job, "a"))
        assert metric(job, name) == before + 1
    with connected(job) as raw:
        raw.send(asking("a", content_length=100) + b"{")  # and hangs up
    until(lambda: '"Incomplete"' in aggregator.log())
    new = aggregator.log().splitlines()[lines:]
    assert len(new) < 20
    assert all(len(line) < 3000 and "\x1b" not in line for line in new)
