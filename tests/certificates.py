"""A CA and a server certificate for this machine, as the operator makes them, for what tests and the bench serve."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from fedapi import names
from fedoperator.certificates import LIFETIME, server_certificate
from fedoperator.key_material import Keys


def write(folder: Path, host: str = "127.0.0.1") -> Keys:
    """Writes ca.crt, tls.crt and tls.key into the folder."""
    keys = Keys.generated(datetime.now(UTC))
    hosts = list(dict.fromkeys(["localhost", "127.0.0.1", host]))
    certificate, key = server_certificate(keys.authority(), hosts, datetime.now(UTC), LIFETIME)
    files = {names.FILE_CA: keys.ca_cert, names.FILE_TLS_CERT: certificate, names.FILE_TLS_KEY: key}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return keys


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    return context


def client_context(folder: Path) -> ssl.SSLContext:
    """TLS of a client that trusts this CA alone."""
    return ssl.create_default_context(cafile=str(folder / names.FILE_CA))
