"""Keys, tokens and certificates of jobs: what is inside the Secrets. No Kubernetes client, no files.

Called by cluster/secret_store.py and by the embedded runner. A job's key and its sites' tokens derive from one master
key (fedapi.wire.tokens), so nobody keeps a list; certificates are signed by the installation's own CA (certificates.py).
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fedapi import names
from fedapi.wire import subjects
from fedapi.wire.tokens import heartbeat_token, init_token, job_key, registry_key, site_token
from fedoperator.certificates import (
    LIFETIME,
    Authority,
    authority_certificate,
    client_certificate,
    pem,
    server_certificate,
)

FILE_MASTER, FILE_CA_KEY, FILE_ID = "master.key", "ca.key", "id"  # of the master Secret, beside names.FILE_CA
FILE_NEXT_CA_KEY, FILE_NEXT_CA, FILE_PREVIOUS_CA, FILE_CA_CHANGED = (
    "next-ca.key",
    "next-ca.crt",
    "previous-ca.crt",
    "ca-changed",
)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Keys:
    """The installation's master key and CA, and another CA while the one replaces the other (ca_rotation.py). Its repr shows none."""

    master: bytes = field(repr=False)
    ca_key: bytes = field(repr=False)  # PEM
    ca_cert: bytes = field(repr=False)  # PEM
    id: str = ""  # public; tells these keys from others. Empty for keys of the first version, which had none
    next_ca_key: bytes = field(default=b"", repr=False)  # PEM
    next_ca_cert: bytes = field(default=b"", repr=False)  # PEM; trusted, and will issue certificates
    previous_ca_cert: bytes = field(default=b"", repr=False)  # PEM; trusted, and has issued certificates
    ca_changed: str = ""  # when one of the last three last changed, ISO 8601

    @classmethod
    def generated(cls, now: datetime) -> Self:
        """Fresh keys for a new installation."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority_certificate(key, now).public_bytes(Encoding.PEM)
        return cls(secrets.token_bytes(32), pem(key), certificate, secrets.token_hex(8))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """From the files of the master Secret; ValueError names what is missing or damaged."""
        absent = [name for name in (FILE_MASTER, FILE_CA_KEY, names.FILE_CA) if not files.get(name)]
        if absent:
            raise ValueError(f"the master Secret lacks {', '.join(absent)}")
        keys = cls(
            files[FILE_MASTER],
            files[FILE_CA_KEY],
            files[names.FILE_CA],
            files.get(FILE_ID, b"").decode().strip(),
            next_ca_key=files.get(FILE_NEXT_CA_KEY, b""),
            next_ca_cert=files.get(FILE_NEXT_CA, b""),
            previous_ca_cert=files.get(FILE_PREVIOUS_CA, b""),
            ca_changed=files.get(FILE_CA_CHANGED, b"").decode().strip(),
        )
        if len(keys.master) != 32:
            raise ValueError(f"{FILE_MASTER} must have 32 bytes, not {len(keys.master)}")
        keys.authority()
        return keys

    def files(self) -> Files:
        """The files of the master Secret."""
        files = {FILE_MASTER: self.master, FILE_CA_KEY: self.ca_key, names.FILE_CA: self.ca_cert}
        others = {
            FILE_ID: self.id.encode(),
            FILE_NEXT_CA_KEY: self.next_ca_key,
            FILE_NEXT_CA: self.next_ca_cert,
            FILE_PREVIOUS_CA: self.previous_ca_cert,
            FILE_CA_CHANGED: self.ca_changed.encode(),
        }
        return files | {name: content for name, content in others.items() if content}

    @property
    def trusted(self) -> bytes:
        """Certificates of all CAs that are trusted, PEM."""
        return self.ca_cert + self.next_ca_cert + self.previous_ca_cert

    def authority(self) -> Authority:
        """CA key and certificate; ValueError when they cannot be read."""
        key = load_pem_private_key(self.ca_key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{FILE_CA_KEY} is not an elliptic curve key")  # noqa: TRY004 - a file's content, no type
        return key, x509.load_pem_x509_certificate(self.ca_cert)


def aggregator_files(
    keys: Keys, job_uid: str, hosts: Sequence[str], now: datetime, lifetime: timedelta = LIFETIME
) -> Files:
    """Files of an aggregator's Secret: the job's key, a server certificate for `hosts`, the CA certificate."""
    return {names.FILE_JOB_KEY: job_key(keys.master, job_uid), **_served(keys, hosts, now, lifetime)}


def site_files(
    keys: Keys,
    job_uid: str,
    client: str,
    now: datetime,
    registered_as: str = "",
    generation: int = 0,
    lifetime: timedelta = LIFETIME,
) -> Files:
    """Files of a site's Secret: token and certificate for the job, the CA certificate; a token for the registry, if it has an id there."""
    token = site_token(job_key(keys.master, job_uid), client).encode()
    files = {names.FILE_TOKEN: token, **_shown(keys, subjects.site(job_uid, client), now, lifetime)}
    if registered_as:
        heartbeats = heartbeat_token(registry_key(keys.master), registered_as, generation)
        files[names.FILE_REGISTRY_TOKEN] = heartbeats.encode()
    return files


def init_files(keys: Keys, job_uid: str, now: datetime, lifetime: timedelta = LIFETIME) -> Files:
    """Files of the init step's Secret: token and certificate for the job, the CA certificate."""
    token = init_token(job_key(keys.master, job_uid)).encode()
    return {names.FILE_TOKEN: token, **_shown(keys, subjects.init(job_uid), now, lifetime)}


def registry_files(keys: Keys, hosts: Sequence[str], now: datetime, lifetime: timedelta = LIFETIME) -> Files:
    """Files of the registry's Secret: the key of heartbeats' tokens, a server certificate for `hosts`, the CA certificate."""
    return {names.FILE_REGISTRY_KEY: registry_key(keys.master), **_served(keys, hosts, now, lifetime)}


def _served(keys: Keys, hosts: Sequence[str], now: datetime, lifetime: timedelta) -> Files:
    return _tls(keys, server_certificate(keys.authority(), hosts, now, lifetime))


def _shown(keys: Keys, subject: str, now: datetime, lifetime: timedelta) -> Files:
    return _tls(keys, client_certificate(keys.authority(), subject, now, lifetime))


def _tls(keys: Keys, made: tuple[bytes, bytes]) -> Files:
    certificate, key = made
    return {names.FILE_TLS_CERT: certificate, names.FILE_TLS_KEY: key, names.FILE_CA: keys.trusted}
