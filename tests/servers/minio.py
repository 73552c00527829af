"""MinIO's last release: the second implementation of S3, with an IAM of its own, over TLS."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests import certificates
from tests.ports import free_ports
from tests.servers import programs
from tests.servers.process import Process, running
from tests.servers.s3server import ROOT, SECRET, S3Server, answers

KMS_KEY = "test-key"


@contextmanager
def serving(folder: Path, host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Serves from this folder, at this address of the machine."""
    certs = folder / "certs"
    certs.mkdir(parents=True)
    certificates.write(certs, host)
    (certs / "tls.crt").rename(certs / "public.crt")
    (certs / "tls.key").rename(certs / "private.key")
    ca = (certs / "ca.crt").rename(folder / "ca.crt")
    port, console = free_ports(2)
    addresses = (f"--address={host}:{port}", f"--console-address=127.0.0.1:{console}")
    command = [programs.binary("minio"), "server", "--quiet", *addresses, f"--certs-dir={certs}", folder / "data"]
    process = Process(command, folder / "minio.log", lambda: True, _environment(folder))
    server = S3Server(process, f"https://{host}:{port}", folder, ca)
    client = server.client(retries={"total_max_attempts": 1})
    try:
        process.ready = partial(answers, client)
        with running(process):
            yield server
    finally:
        client.close()


def _environment(folder: Path) -> dict[str, str]:
    key = base64.b64encode(bytes(range(32))).decode()
    return {
        "HOME": str(folder),
        "MINIO_ROOT_USER": ROOT,
        "MINIO_ROOT_PASSWORD": SECRET,
        "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{key}",
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
        "GOMAXPROCS": "2",
    }
