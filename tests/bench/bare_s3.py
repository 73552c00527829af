"""The bytes of a big round through an S3 server by boto3 alone, hashed where Fedloom hashes: two processes, nothing parsed.

Each reads the model, puts an update and reads it again, as the hub does, and puts half of the next model.
"""

import hashlib
from base64 import b64encode
from multiprocessing.synchronize import Barrier
from statistics import median
from typing import Any

from tests.bench import group
from tests.servers.s3server import S3Server

CHUNK = 1 << 20


def median_s(server: S3Server, *, size: int, repeats: int) -> float:
    """Median time in which both are done."""
    bucket = server.bucket()
    with server.clients() as client:
        client.put_object(Bucket=bucket, Key="model", Body=bytes(size))
    known = {"endpoint": server.endpoint, "ca": str(server.ca) if server.ca else None}
    return median(group.timed(_site, 2, repeats + 1, known, bucket, size)[1:])


def _site(barrier: Barrier, repeats: int, known: dict[str, Any], bucket: str, size: int) -> None:
    import os

    import boto3
    from botocore.config import Config

    from tests.servers.s3server import REGION, ROOT, SECRET

    session = boto3.Session(aws_access_key_id=ROOT, aws_secret_access_key=SECRET, region_name=REGION)
    config = Config(signature_version="s3v4", proxies={})
    client = session.client("s3", endpoint_url=known["endpoint"], verify=known["ca"], config=config)
    payload = os.urandom(size)
    for number in range(repeats):
        barrier.wait(group.WAIT_S)
        _read(client, bucket, "model")
        key = f"update-{os.getpid()}-{number}"
        _put(client, bucket, key, payload)
        _read(client, bucket, key)
        _put(client, bucket, f"half-{os.getpid()}-{number}", payload[: size // 2])
        barrier.wait(group.WAIT_S)
        for each in (key, f"half-{os.getpid()}-{number}"):
            client.delete_object(Bucket=bucket, Key=each)


def _read(client: Any, bucket: str, key: str) -> None:
    body, found = client.get_object(Bucket=bucket, Key=key)["Body"], hashlib.sha256()
    while block := body.read(CHUNK):
        found.update(block)


def _put(client: Any, bucket: str, key: str, data: bytes) -> None:
    checksum = b64encode(hashlib.sha256(data).digest()).decode()
    client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, IfNoneMatch="*")
