"""Large bodies through threads, between real sockets with real TLS: whole, too slow, or cut off."""

import asyncio
import contextlib
import hashlib
import select
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

import pytest

from fedaggregator.errors import BodyEndedError
from fedaggregator.http import bulk as bulk_module
from fedaggregator.http.bulk import Bulk
from fedaggregator.http.pace import Pace
from fedaggregator.http.session import Session
from fedapi import names
from fedoperator.certificates import LIFETIME, server_certificate
from fedoperator.key_material import Keys
from fedstore.errors import ContentMismatchError
from fedstore.memory import MemoryStore

SIZE = (9 << 20) + 12_345  # more than a burst, and no multiple of a record
DATA = bytes(range(256)) * (SIZE // 256 + 1)
DATA = DATA[:SIZE]
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    keys = Keys.generated(datetime.now(UTC))
    certificate, key = server_certificate(keys.authority(), ["localhost"], datetime.now(UTC), LIFETIME)
    for name, content in ((names.FILE_CA, keys.ca_cert), ("crt", certificate), ("key", key)):
        (folder / name).write_bytes(content)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "crt", folder / "key")
    return server, ssl.create_default_context(cafile=str(folder / names.FILE_CA))


class Connection:
    """Both ends of a TLS connection: ours as tls.py has it, with nothing of the body read yet."""

    def __init__(self, contexts, client):
        server, trusting = contexts
        self.ours, theirs = socket.socketpair()
        self.session = Session.of(server)
        self._over = threading.Event()
        self._client = threading.Thread(target=self._run, args=(trusting, theirs, client))
        self._client.start()
        while True:
            try:
                self.session.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.say()
                self.session.incoming.write(self.ours.recv(65536))
        self.session.encrypt(b".")
        self.say()
        self.ours.setblocking(False)

    def say(self) -> None:
        if self.session.outgoing.pending:
            self.ours.sendall(self.session.outgoing.read())

    def _run(self, context, sock, client):
        with (
            context.wrap_socket(sock, server_hostname="localhost") as wire,
            contextlib.suppress(OSError),  # what is refused, or given up, is not read to its end
        ):
            wire.recv(1)
            client(wire, self._over)

    def close(self):
        self._over.set()
        self.ours.close()
        self._client.join()


@contextmanager
def bulk(contexts, client, stall_s=60.0):
    """A connection that was taken."""
    connection = Connection(contexts, client)
    try:
        with ThreadPoolExecutor(2) as pool:
            yield connection, Bulk(connection.session, connection.ours.fileno(), Pace(stall_s, 1), pool)
    finally:
        connection.close()


async def all_of(taken, counts):
    """How many bytes it said that it moved."""
    try:
        async with aclosing(counts) as parts:
            return sum([count async for count in parts])
    finally:
        await taken.close()


def received(contexts, client, size=SIZE, stall_s=60.0, key="key"):
    """What the store has of a body."""
    store = MemoryStore()

    async def receive():
        with bulk(contexts, client, stall_s) as (connection, taken), store.writer(key) as writer:
            count = await all_of(taken, taken.received(writer, size, connection.say))
            assert writer.finish().size == count
        return store.get(key)

    return asyncio.run(receive())


def sent(contexts, client, stall_s=60.0):
    """How many bytes of the object were sent."""
    store = MemoryStore()
    store.put_once("key", DATA)

    async def send():
        with bulk(contexts, client, stall_s) as (_, taken), store.reader("key") as reader:
            return await all_of(taken, taken.sent(reader))

    return asyncio.run(send())


def read_all(wire) -> bytes:
    data = bytearray()
    while len(data) < SIZE:
        data += wire.recv(1 << 20)
    return bytes(data)


def test_a_body_arrives_whole_and_what_follows_it_is_left_alone(contexts):
    assert received(contexts, lambda wire, _: wire.sendall(DATA + b"GET / HTTP/1.1\r\n\r\n")) == DATA


def test_what_the_loop_has_read_of_it_already_counts(contexts):
    def held_back(wire, _):
        wire.sendall(DATA[:50_000])
        wire.sendall(DATA[50_000:])

    store = MemoryStore()

    async def receive():
        with bulk(contexts, held_back) as (connection, taken), store.writer("key") as writer:
            connection.ours.setblocking(True)
            connection.session.incoming.write(connection.ours.recv(40_000))
            connection.ours.setblocking(False)
            await all_of(taken, taken.received(writer, SIZE, connection.say))
            return writer.finish()

    assert asyncio.run(receive()).sha256 == SHA256


def test_an_object_is_sent_whole_after_what_was_written_before(contexts):
    found = []

    def client(wire, _):
        found.append(wire.recv(4))
        found.append(read_all(wire))

    store = MemoryStore()
    store.put_once("key", DATA)

    async def send():
        with bulk(contexts, client) as (connection, taken), store.reader("key") as reader:
            connection.session.encrypt(b"head")
            return await all_of(taken, taken.sent(reader))

    assert asyncio.run(send()) == SIZE
    assert found == [b"head", DATA]


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_client_that_says_goodbye_too_early_has_ended_it(contexts, size):
    def client(wire, _):
        wire.sendall(DATA[:size])
        wire.unwrap()

    with pytest.raises(BodyEndedError) as ended:
        received(contexts, client)
    assert not ended.value.stalled


def test_a_client_that_is_gone_has_ended_it(contexts):
    with pytest.raises(BodyEndedError) as ended:
        received(contexts, lambda wire, _: wire.sendall(DATA[: 1 << 20]))
    assert not ended.value.stalled
    with pytest.raises(BodyEndedError) as ended:
        sent(contexts, lambda wire, _: wire.recv(1000))
    assert not ended.value.stalled


def test_noise_in_place_of_records_has_ended_it(contexts):
    def client(wire, _):
        raw = socket.socket(fileno=wire.detach())
        raw.sendall(b"\x17\x03\x03\x00\x30" + bytes(48))
        raw.close()

    with pytest.raises(BodyEndedError):
        received(contexts, client)


@pytest.mark.parametrize("way", [received, sent])
def test_a_client_that_moves_nothing_is_given_up(contexts, way):
    with pytest.raises(BodyEndedError) as ended:
        way(contexts, lambda _, over: over.wait(), stall_s=0.2)
    assert ended.value.stalled


def test_a_connection_that_is_lost_meanwhile_is_not_waited_for(contexts):
    async def send():
        store = MemoryStore()
        store.put_once("key", DATA)
        with bulk(contexts, lambda _, over: over.wait()) as (_, taken), store.reader("key") as reader:
            asyncio.get_running_loop().call_later(0.1, taken.lost)
            await all_of(taken, taken.sent(reader))

    with pytest.raises(BodyEndedError) as ended:
        asyncio.run(send())
    assert not ended.value.stalled


def test_one_that_is_lost_while_a_thread_is_at_work_is_not_waited_for_either(contexts):
    """Nothing would wake it any more: the client neither reads nor hangs up."""

    async def send():
        store = MemoryStore()
        store.put_once("key", DATA)
        with bulk(contexts, lambda _, over: over.wait()) as (_, taken), store.reader("key") as reader:
            counts = taken.sent(reader)
            await anext(counts)
            taken.lost()
            await all_of(taken, counts)

    with pytest.raises(BodyEndedError) as ended:
        asyncio.run(send())
    assert not ended.value.stalled


def test_a_burst_waits_for_the_kernel_once_and_for_bytes_that_are_worth_it():
    """Else a client that trickles would hold the thread as long as it likes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        moments = bulk_module._Moments(ours, select.POLLOUT)  # which is ready all the time
        for left in (SIZE, SIZE // 2):
            moments.begin(left)
            ready = [moments.ready(left - moved) for moved in (0, 0, 1000, 65_535, 65_536, 65_537, 200_000)]
            assert ready == [True, False, False, False, True, False, True]
        moments = bulk_module._Moments(ours, select.POLLIN)
        moments.begin(SIZE)
        assert not moments.ready(SIZE)


def test_what_the_store_refuses_is_the_stores_error(contexts):
    store = MemoryStore()

    async def receive():
        with (
            bulk(contexts, lambda wire, _: wire.sendall(DATA)) as (connection, taken),
            store.writer("key", size=9) as writer,
        ):
            await all_of(taken, taken.received(writer, SIZE, connection.say))

    with pytest.raises(ContentMismatchError):
        asyncio.run(receive())
