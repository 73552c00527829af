"""How much more memory a process needs to put an object of 5 GiB into an S3 server, and to read it, than for a small one."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from fedapi.wire.location import S3
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store
from tests.bench import group, store_clients
from tests.bench.bench import Bench
from tests.bench.process import mib
from tests.bench.rows import Row
from tests.servers import weed
from tests.servers.s3server import REGION

SIZE, BLOCK = 5 << 30, 1 << 20
_WAIT_S = 1800.0


def measure(bench: Bench, size: int = SIZE) -> Row:
    """The row."""
    folder = bench.folder("store-rss")
    with weed.serving(folder / "weed") as server:
        place = S3(server.bucket(), "p", REGION, server.endpoint)
        here, there = group.SPAWN.Pipe()
        args = (place.text(), server.credentials(folder / "credentials"), size, there)
        process = group.SPAWN.Process(target=_act, args=args, daemon=True)
        process.start()
        try:
            if not here.poll(_WAIT_S):
                raise RuntimeError("the object did not come and go")
            before, put, got = here.recv()
        finally:
            process.kill()
            process.join()
    print(f"   {before:.0f} MiB before, at most {put:.0f} MiB with the put, {got:.0f} MiB with the get")
    return Row("store_rss_mib_5gb", max(put, got) - before, "MiB")


def _act(place: str, credentials: Path, size: int, told: Connection) -> None:
    store_clients.without_awscrt()
    store = open_store(place, credentials)
    _there_and_back(store, 4 * BLOCK)
    before = mib(os.getpid(), "VmRSS")
    put, got = _there_and_back(store, size)
    told.send((before, put, got))


def _there_and_back(store: ObjectStore, size: int) -> tuple[float, float]:
    """The peak of the process after each way."""
    block = bytearray(os.urandom(BLOCK))
    with store.writer(f"models/{size}", size=size) as writer:
        for _ in range(size // BLOCK):
            writer.write(block)
        writer.finish()
    put = mib(os.getpid(), "VmHWM")
    with store.reader(f"models/{size}") as reader:
        for offset in range(0, size, BLOCK):
            reader.read_into(memoryview(block), offset)
    store.delete(f"models/{size}")
    return put, mib(os.getpid(), "VmHWM")
