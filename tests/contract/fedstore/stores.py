"""The stores that the contract suite is run over: each empty, those of a server below a prefix of their own."""

import secrets

from fedstore.bucketstore import BucketStore
from fedstore.disk import DiskStore
from fedstore.memory import MemoryStore
from fedstore.opening import open_store
from tests.contract.fedstore.buckets import MemoryBucket

S3 = ("seaweedfs", "minio")
SERVERS = (*S3, "fake_gcs", "azurite")  # fixtures of tests/servers; each can name a `place` and write `credentials`
SEVERAL_WRITERS = ("disk", "memory", "bucket", *SERVERS)  # tell two writers apart
KINDS = (*SEVERAL_WRITERS, "fenced")


def opened(request, tmp_path):
    """The store of the fixture's parameter."""
    match request.param:
        case "disk":
            return DiskStore(tmp_path / "store")
        case "memory":
            return MemoryStore()
        case "bucket":
            return BucketStore(MemoryBucket(), "below/a/prefix")
        case "fenced":  # no write has a condition
            return of_server(request.getfixturevalue("seaweedfs"), tmp_path, "&fence=lease")
        case server:
            return of_server(request.getfixturevalue(server), tmp_path)


def of_server(server, tmp_path, options=""):
    """In the bucket that tests of one server share."""
    place = server.place(server.shared_bucket, prefix=f"below/{secrets.token_hex(8)}")
    return open_store(f"{place}{options}", server.credentials(tmp_path / "credentials"))
