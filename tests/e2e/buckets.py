"""A bucket as jobs on a real cluster have it: its place in the API, and the Secret that opens it."""

import base64
from pathlib import Path
from typing import Any

from tests.servers.s3server import REGION, ROOT, SECRET, S3Server

SECRET_NAME = "fedloom-store-bucket"


def place(server: S3Server, bucket: str) -> dict[str, Any]:
    """As spec.storage, spec.backup.destination and spec.restoreFrom.source say it."""
    secret = {"credentialsSecretRef": {"name": SECRET_NAME}}
    return {"s3": {"bucket": bucket, "prefix": "fedloom", "region": REGION, "endpoint": server.endpoint, **secret}}


def credentials(server: S3Server) -> dict[str, Any]:
    """The Secret that it names."""
    files = {"AWS_ACCESS_KEY_ID": ROOT, "AWS_SECRET_ACCESS_KEY": SECRET, "ca.crt": Path(server.ca or "").read_text()}
    data = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME}, "data": data}


def forget(server: S3Server, bucket: str) -> None:
    """The bucket and all that is in it."""
    with server.clients() as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_bucket(Bucket=bucket)
