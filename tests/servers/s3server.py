"""An S3 server of a test: where it is, who may use it, clients for it, and stores in buckets of their own.

What weed.py and minio.py start. A store's place and the folder of its credentials are as a user would give them.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fedapi.wire.location import S3
from tests.servers.process import Process

REGION = "us-east-1"
ROOT, SECRET = "testroot", "testroot-secret"  # of every server here


@dataclass
class S3Server:
    """Of one test session; tests that share it have buckets of their own."""

    process: Process
    endpoint: str
    folder: Path  # for this object's own files
    ca: Path | None = None  # of an endpoint with TLS
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        _read_descriptions_once()

    def client(self, service: str = "s3", key: str = ROOT, secret: str = SECRET, **config: Any) -> Any:
        """A boto3 client that knows nothing of this machine's own settings. To be closed by who asked."""
        import boto3
        from botocore.config import Config

        session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)
        settings = Config(signature_version="s3v4" if service == "s3" else None, proxies={}, **config)
        verify = str(self.ca) if self.ca else None
        return session.client(service, endpoint_url=self.endpoint, verify=verify, config=settings)

    @contextmanager
    def clients(self) -> Iterator[Any]:
        """The same, closed afterwards."""
        client = self.client()
        try:
            yield client
        finally:
            client.close()

    @cached_property
    def shared_bucket(self) -> str:
        """For tests that keep to a prefix of their own."""
        return self.bucket()

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"fedloom-{next(self._numbers)}"
        with self.clients() as client:
            client.create_bucket(Bucket=name)
        return name

    def place(self, bucket: str = "", prefix: str = "p", kms_key: str = "") -> str:
        """A store's text; in a new bucket where none is named."""
        return S3(bucket or self.bucket(), prefix, REGION, self.endpoint, kms_key).text()

    def credentials(self, folder: Path, key: str = ROOT, secret: str = SECRET) -> Path:
        """Fills a folder as a mounted Secret has it."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        if self.ca:
            files["ca.crt"] = self.ca.read_text()
        for name, content in files.items():
            (folder / name).write_text(content)
        return folder


def _read_descriptions_once() -> None:
    """The SDK's descriptions of services: each session reads them anew, 0.1 s for every store that a test opens."""
    from botocore import loaders, session

    if session.create_loader is loaders.create_loader:
        session.create_loader = cache(loaders.create_loader)


def answers(client: Any) -> bool:
    """Whether an S3 server can be used. The SDK's errors of a server that is not there are no OSErrors."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.list_buckets()
    except (BotoCoreError, ClientError) as error:
        raise ConnectionError(str(error)) from error
    return True
