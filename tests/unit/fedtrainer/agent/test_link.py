"""Messages and bodies over kept connections: tried with a real TLS server that answers what a test has planned."""

import os
import queue
import resource
import socket
import ssl
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest

from fedapi import names
from fedtrainer.agent import link as link_module
from fedtrainer.agent.link import Link
from fedtrainer.agent.patience import RetryError
from fedtrainer.agent.stream import Stream
from tests.integration.fedaggregator.harness import certificates

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CLOSE = "close"  # an action: the end of the connection
PATIENCE_S = 60.0


class Hub:
    """Answers each request with the next actions that are planned: bytes, CLOSE, or an event that is waited for."""

    def __init__(self, folder):
        certificates(folder)
        self.requests, self.actions, self.connections = [], queue.Queue(), 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
        self.trusted = ssl.create_default_context(cafile=folder / names.FILE_CA)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listening.getsockname()[1]}/prefix/"
        self.ended = threading.Semaphore(0)  # once for each connection
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.close()

    def _accept(self):
        while True:
            try:
                raw, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(raw, self.connections), daemon=True).start()

    def _serve(self, raw, number):
        try:
            with self._context.wrap_socket(raw, server_side=True) as connection, connection.makefile("rb") as file:
                while (head := [*iter(lambda: file.readline().strip(), b"")]) and self._answered(
                    connection, file, head, number
                ):
                    pass
        except OSError:
            pass
        finally:
            self.ended.release()

    def _answered(self, connection, file, head, number):
        fields = dict(line.split(b": ", 1) for line in head[1:])
        self.requests.append((number, head[0], fields, file.read(int(fields[b"Content-Length"]))))
        for action in self.actions.get(timeout=PATIENCE_S):
            if action == CLOSE:
                return False
            if isinstance(action, bytes):
                connection.sendall(action)
            else:
                action.wait(PATIENCE_S)
        return True


@pytest.fixture
def hub(tmp_path):
    with closing(Hub(tmp_path)) as made:
        yield made


@pytest.fixture
def link(hub):
    with closing(Link(hub.url, lambda: hub.trusted)) as made:
        yield made


def post(link, body=b"{}", answer_s=PATIENCE_S):
    return link.post("/v1/x", {"Authorization": "Bearer t"}, body, answer_s)


def test_a_connection_is_kept_and_a_request_says_no_more_than_it_must(hub, link, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for body in (b"one", b"", b"\xff" * 200_000):
        hub.actions.put([OK])
        assert post(link, body) == (200, b"hi")
        host = hub.url.split("/")[2].encode()
        fields = {b"Host": host, b"Authorization": b"Bearer t", b"Content-Length": str(len(body)).encode()}
        assert hub.requests[-1] == (1, b"POST /prefix/v1/x HTTP/1.1", fields, body)


@pytest.mark.parametrize(
    ("answer", "status", "body", "kept"),
    [
        (OK, 200, b"hi", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n", 422, b"", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", 200, b"hi!", True),
        (b"HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno", 401, b"no", False),
        (b"HTTP/1.1 302 Found\r\nlocation: https://elsewhere/\r\ncontent-length: 0\r\n\r\n", 302, b"", True),
        (b"HTTP/1.0 503 Busy\r\n\r\nbusy", 503, b"busy", False),
    ],
)
def test_answers_are_handed_on_as_they_are(hub, link, answer, status, body, kept):
    hub.actions.put([answer] if kept else [answer, CLOSE])
    assert post(link) == (status, body)
    hub.actions.put([OK])
    assert post(link) == (200, b"hi")
    assert hub.connections == (1 if kept else 2)


def test_a_connection_that_was_closed_for_being_idle_is_made_anew(hub, link):
    hub.actions.put([OK, CLOSE])
    post(link)
    assert hub.ended.acquire(timeout=PATIENCE_S)
    hub.actions.put([OK])
    assert post(link) == (200, b"hi")
    assert [number for number, *_ in hub.requests] == [1, 2]


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ([CLOSE], "RemoteDisconnected"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", CLOSE], "the answer is cut off"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", CLOSE], "the answer is cut off"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi", CLOSE], "IncompleteRead"),
        ([b"HTTP/1.1 200 OK\r\ncontent-le", CLOSE], ""),
        ([b"SSH-2.0-x\r\n", CLOSE], "BadStatusLine"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b"x" * 99], "the answer is too long"),
    ],
)
def test_what_is_no_whole_answer_is_asked_again_on_another_connection(hub, link, monkeypatch, actions, words):
    monkeypatch.setattr(link_module, "LONGEST_ANSWER_BYTES", 9)
    hub.actions.put(actions)
    if words:
        with pytest.raises(RetryError, match=words):
            post(link)
    else:
        assert post(link) == (200, b"")  # a header that ends early: the message is what says that it is none
    hub.actions.put([OK])
    assert post(link) == (200, b"hi")
    assert hub.connections == 2


def test_an_answer_that_does_not_come_is_not_waited_for(hub, link):
    never = threading.Event()
    hub.actions.put([never])
    with pytest.raises(RetryError, match="TimeoutError"):
        post(link, answer_s=0.05)
    hub.actions.put([OK])
    assert post(link) == (200, b"hi")
    assert hub.connections == 2
    never.set()


def test_who_asks_at_the_same_time_has_a_connection_of_his_own(hub, link):
    held = threading.Event()
    hub.actions.put([held, OK])
    hub.actions.put([OK])
    answers = queue.Queue()
    first = threading.Thread(target=lambda: answers.put(post(link)))
    first.start()
    while not hub.requests:
        first.join(0.01)
    assert post(link) == (200, b"hi")
    held.set()
    assert answers.get(timeout=PATIENCE_S) == (200, b"hi")
    first.join()
    for _ in range(3):
        hub.actions.put([OK])
        post(link)
    assert hub.connections == 2


def test_a_hub_of_another_ca_and_one_that_is_not_there(hub, tmp_path):
    certificates(tmp_path / "foreign")
    foreign = ssl.create_default_context(cafile=tmp_path / "foreign" / names.FILE_CA)
    with pytest.raises(RetryError, match="CERTIFICATE_VERIFY_FAILED"):
        post(Link(hub.url, lambda: foreign))
    assert not hub.requests
    with pytest.raises(RetryError, match="ConnectionRefusedError"):
        post(Link("https://127.0.0.1:1", lambda: hub.trusted))


@pytest.fixture
def many_files():
    """As a task may hold them open: what is opened next has a number that select.select does not take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    opened = [os.open("/dev/null", os.O_RDONLY)]
    while opened[-1] < 1024:
        opened.append(os.open("/dev/null", os.O_RDONLY))
    yield
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_connections_are_kept_and_made_anew_however_many_files_are_open(hub, link):
    stream = Stream(SimpleNamespace(of=lambda *_: hub.trusted))
    asks = (lambda: post(link)[1], lambda: stream.send("GET", f"{hub.url}blob", {"Content-Length": "0"}).read())
    for ask in asks:
        for actions in ([OK], [OK, CLOSE], [OK]):
            hub.actions.put(actions)
            assert ask() == b"hi"
            if CLOSE in actions:
                assert hub.ended.acquire(timeout=PATIENCE_S)
    assert [number for number, *_ in hub.requests] == [1, 1, 2, 3, 3, 4]
    stream.close()
