"""A bucket, queues and a table as jobs and releases on a real cluster have them: their places in the API, and their Secrets."""

import base64
from pathlib import Path
from typing import Any

from fedapi import names
from tests.servers.s3server import REGION, ROOT, SECRET, S3Server

BUCKET_SECRET = f"{names.STORE_SECRET_PREFIX}bucket"
QUEUE_SECRET = f"{names.QUEUE_SECRET_PREFIX}sqs"


def bucket(server: S3Server, name: str) -> dict[str, Any]:
    """As spec.storage, spec.backup.destination and spec.restoreFrom.source say it."""
    secret = {"credentialsSecretRef": {"name": BUCKET_SECRET}}
    return {"s3": {"bucket": name, "prefix": "fedloom", "region": REGION, "endpoint": server.endpoint, **secret}}


def queues(server: S3Server) -> dict[str, Any]:
    """As spec.events of a FederatedJob says it."""
    return {"sqs": {"region": REGION, "endpoint": server.endpoint, **queues_of_a_site()}}


def queues_of_a_site() -> dict[str, Any]:
    """As spec.events of an FLClient says it."""
    return {"credentialsSecretRef": {"name": QUEUE_SECRET}}


def credentials(server: S3Server, secret: str) -> dict[str, Any]:
    """A Secret that they name."""
    files = {"AWS_ACCESS_KEY_ID": ROOT, "AWS_SECRET_ACCESS_KEY": SECRET, "ca.crt": Path(server.ca or "").read_text()}
    data = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "data": data}


def registry(server: S3Server, table: str, secret: str) -> dict[str, str]:
    """Values of the chart: the registry of sites, over a table that it makes."""
    place = {
        "table": table,
        "region": REGION,
        "endpoint": server.endpoint,
        "create": "true",
        "credentialsSecret": secret,
    }
    return {"registry.enabled": "true", **{f"registry.dynamodb.{name}": value for name, value in place.items()}}


def forget(server: S3Server, name: str) -> None:
    """The bucket and all that is in it."""
    with server.clients() as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=found["Key"])
        client.delete_bucket(Bucket=name)
