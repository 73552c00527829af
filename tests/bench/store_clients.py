"""What puts and gets objects of an S3 server: ours, and the three libraries that it is held against. Run as a process each.

Each is as it comes, with defaults; the data is in memory before and after. Ours runs as in the hub's image, without awscrt.
"""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Get, Put = Callable[[str], int], Callable[[str, bytearray], None]
REGION = "us-east-1"


def without_awscrt() -> None:
    """Before boto3 is loaded: the hub's image has none, and with it botocore signs by other code."""
    sys.modules["awscrt"] = None  # type: ignore[assignment]


def ours(endpoint: str, bucket: str, folder: Path) -> tuple[Put, Get]:
    """A store as the aggregator opens it."""
    without_awscrt()
    from fedapi.wire.location import S3
    from fedstore.opening import open_store

    store = open_store(S3(bucket, "p", REGION, endpoint).text(), folder)

    def put(key: str, data: bytearray) -> None:
        with store.writer(key, size=len(data)) as writer:
            writer.write(data)
            writer.finish()

    def get(key: str) -> int:
        with store.reader(key) as reader:
            data = bytearray(reader.size)
            reader.read_into(memoryview(data), 0)
        return len(data)

    return put, get


def boto3(endpoint: str, bucket: str, folder: Path) -> tuple[Put, Get]:
    """boto3's transfers without awscrt."""
    without_awscrt()
    return boto3_awscrt(endpoint, bucket, folder)


def boto3_awscrt(endpoint: str, bucket: str, folder: Path) -> tuple[Put, Get]:
    """The same where awscrt is installed, which then signs and computes checksums."""
    from boto3 import Session
    from botocore.config import Config

    session = Session(*_keys(folder), region_name=REGION)
    config = Config(proxies={}, max_pool_connections=32)
    client = session.client("s3", endpoint_url=endpoint, verify=str(folder / "ca.crt"), config=config)

    def get(key: str) -> int:
        data = io.BytesIO()
        client.download_fileobj(bucket, key, data)
        return data.getbuffer().nbytes

    return lambda key, data: client.upload_fileobj(io.BytesIO(data), bucket, key), get


def obstore(endpoint: str, bucket: str, folder: Path) -> tuple[Put, Get]:
    """A client in Rust."""
    from obstore.store import S3Store

    key_id, secret = _keys(folder)
    options: Any = {"root_certificate": (folder / "ca.crt").read_bytes()}
    where: Any = {"endpoint": endpoint, "region": REGION, "access_key_id": key_id, "secret_access_key": secret}
    store = S3Store(bucket, **where, client_options=options)

    def get(key: str) -> int:
        return len(memoryview(store.get(key).bytes()))

    return lambda key, data: store.put(key, memoryview(data)) and None, get


CLIENTS = {"ours": ours, "boto3": boto3, "boto3 with awscrt": boto3_awscrt, "obstore": obstore}


def act(name: str, endpoint: str, bucket: str, folder: Path, size: int, orders: Connection) -> None:
    """A client's process: puts or gets the key that it is told, and says when it has."""
    put, get = CLIENTS[name](endpoint, bucket, folder)
    data = bytearray(os.urandom(size))
    with suppress(EOFError):
        while True:
            what, key = orders.recv()
            if what == "put":
                put(key, data)
            elif get(key) != size:
                raise RuntimeError(f"{name} got something else")
            orders.send("done")


def _keys(folder: Path) -> tuple[str, str]:
    return (folder / "AWS_ACCESS_KEY_ID").read_text(), (folder / "AWS_SECRET_ACCESS_KEY").read_text()
