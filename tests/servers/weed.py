"""SeaweedFS (`weed mini`): an S3 server with conditional writes, policies and SSE-KMS. Seconds to start, 400 MB of memory.

Each bucket takes volumes, so there may be many of them; a key that many write at once is decided in steps of a second.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests import certificates
from tests.ports import free_ports
from tests.servers import programs
from tests.servers.process import Process, running
from tests.servers.s3server import REGION, ROOT, SECRET, S3Server, answers

_PORTS = (
    "s3.port", "s3.port.https", "s3.port.grpc", "master.port", "master.port.grpc", "filer.port", "filer.port.grpc",
    "volume.port", "volume.port.grpc", "admin.port", "admin.port.grpc",
)  # fmt: skip
_SOCKETS = Path("/tmp")  # by its code
_KMS_KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


@contextmanager
def serving(folder: Path, *, tls: bool = True, kms: str = "") -> Iterator[S3Server]:
    """Serves from this folder. `kms`: the endpoint of a KMS (moto's) whose keys it may use."""
    for name in ("data", "home"):
        (folder / name).mkdir(parents=True)
    certificates.write(folder)
    (folder / "s3.json").write_text(json.dumps(_identities() | (_kms(kms) if kms else {})))
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    scheme, port = ("https", "s3.port.https") if tls else ("http", "s3.port")
    process = Process(_command(folder, ports), folder / "weed.log", lambda: True, _environment(folder))
    server = S3Server(process, f"{scheme}://127.0.0.1:{ports[port]}", folder, folder / "ca.crt" if tls else None)
    client = server.client(retries={"total_max_attempts": 1})
    try:
        process.ready = partial(answers, client)
        with running(process):
            yield server
    finally:
        client.close()
        for number in ports.values():  # which has a socket of its own each, where none is asked for
            for path in _SOCKETS.glob(f"seaweedfs-*-grpc-{number}.sock"):
                path.unlink(missing_ok=True)


def _identities() -> dict:
    root = {"accessKey": ROOT, "secretKey": SECRET}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "root", "credentials": [root], "actions": actions}]}


def _kms(endpoint: str) -> dict:
    provider = {"type": "aws", "region": REGION, "endpoint": endpoint, "cache_enabled": False}
    provider |= {"access_key": "test", "secret_key": "test"}
    return {"kms": {"default_provider": "moto", "providers": {"moto": provider}}}


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    options = {
        "dir": folder / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", **ports,
        "s3.config": folder / "s3.json", "s3.cert.file": folder / "tls.crt", "s3.key.file": folder / "tls.key",
        "s3.port.iceberg": 0, "s3.port.lance": 0, "s3.iam.readOnly": "false", "s3.allowDeleteBucketNotEmpty": "true",
        "s3.autoCreateBucket": "false", "admin.ui": "false", "admin.port.legacy": 0, "webdav": "false",
        "master.telemetry": "false", "master.volumeSizeLimitMB": 256, "volume.max": 1000,
        "filer.localSocket": folder / "filer.sock", "s3.localSocket": folder / "s3.sock",
    }  # fmt: skip
    return [
        str(programs.binary("weed")),
        "-logtostderr=true",
        "mini",
        *(f"-{name}={value}" for name, value in options.items()),
    ]


def _environment(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder / "home"), "GOMEMLIMIT": "400MiB", "GOMAXPROCS": "2"}
