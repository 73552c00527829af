"""Keys, tokens and certificates of jobs: what is inside the Secrets. No Kubernetes client, no files.

Called by cluster/secret_store.py and by the embedded runner. A job's key and its sites' tokens derive from one master
key (fedapi.wire.tokens), so nobody keeps a list; certificates are ECDSA P-256, signed by the installation's own CA.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedapi import names
from fedapi.wire.tokens import heartbeat_token, init_token, job_key, registry_key, site_token

CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=365)
RENEWED_AFTER = SERVER_LIFETIME * 2 / 3  # the rest is for an operator that is away, or may not write
CLOCK_SKEW = timedelta(minutes=5)  # a certificate is valid a little before it was made

FILE_MASTER, FILE_CA_KEY, FILE_ID = "master.key", "ca.key", "id"  # of the master Secret, beside names.FILE_CA

Files = dict[str, bytes]


@dataclass(frozen=True)
class Keys:
    """The installation's master key and CA. Its repr shows none of them."""

    master: bytes = field(repr=False)
    ca_key: bytes = field(repr=False)  # PEM
    ca_cert: bytes = field(repr=False)  # PEM
    id: str = ""  # public; tells these keys from others. Empty for keys of the first version, which had none

    @classmethod
    def generated(cls, now: datetime) -> Self:
        """Fresh keys for a new installation."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fedloom CA")])
        certificate = (
            _certificate(name, name, key.public_key(), now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        return cls(secrets.token_bytes(32), _pem(key), certificate.public_bytes(Encoding.PEM), secrets.token_hex(8))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """From the files of the master Secret; ValueError names what is missing or damaged."""
        absent = [name for name in (FILE_MASTER, FILE_CA_KEY, names.FILE_CA) if not files.get(name)]
        if absent:
            raise ValueError(f"the master Secret lacks {', '.join(absent)}")
        keys = cls(
            files[FILE_MASTER], files[FILE_CA_KEY], files[names.FILE_CA], files.get(FILE_ID, b"").decode().strip()
        )
        if len(keys.master) != 32:
            raise ValueError(f"{FILE_MASTER} must have 32 bytes, not {len(keys.master)}")
        keys.authority()
        return keys

    def files(self) -> Files:
        """The files of the master Secret."""
        files = {FILE_MASTER: self.master, FILE_CA_KEY: self.ca_key, names.FILE_CA: self.ca_cert}
        return files | ({FILE_ID: self.id.encode()} if self.id else {})

    def authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """CA key and certificate; ValueError when they cannot be read."""
        key = load_pem_private_key(self.ca_key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{FILE_CA_KEY} is not an elliptic curve key")  # noqa: TRY004 - a file's content, no type
        return key, x509.load_pem_x509_certificate(self.ca_cert)


def aggregator_files(keys: Keys, job_uid: str, hosts: Sequence[str], now: datetime) -> Files:
    """Files of an aggregator's Secret: the job's key, a server certificate for `hosts`, the CA certificate."""
    certificate, key = server_certificate(keys, hosts, now)
    return {
        names.FILE_JOB_KEY: job_key(keys.master, job_uid),
        names.FILE_TLS_CERT: certificate,
        names.FILE_TLS_KEY: key,
        names.FILE_CA: keys.ca_cert,
    }


def site_files(keys: Keys, job_uid: str, client: str, registered_as: str = "", generation: int = 0) -> Files:
    """Files of a site's Secret: its token for the job and the CA certificate; its token for the registry, if it has an id there."""
    files = {names.FILE_TOKEN: site_token(job_key(keys.master, job_uid), client).encode(), names.FILE_CA: keys.ca_cert}
    if registered_as:
        token = heartbeat_token(registry_key(keys.master), registered_as, generation)
        files[names.FILE_REGISTRY_TOKEN] = token.encode()
    return files


def init_files(keys: Keys, job_uid: str) -> Files:
    """Files of the init step's Secret: its token for the job and the CA certificate."""
    return {names.FILE_TOKEN: init_token(job_key(keys.master, job_uid)).encode(), names.FILE_CA: keys.ca_cert}


def registry_files(keys: Keys, hosts: Sequence[str], now: datetime) -> Files:
    """Files of the registry's Secret: the key of heartbeats' tokens, a server certificate for `hosts`, the CA certificate."""
    certificate, key = server_certificate(keys, hosts, now)
    return {
        names.FILE_REGISTRY_KEY: registry_key(keys.master),
        names.FILE_TLS_CERT: certificate,
        names.FILE_TLS_KEY: key,
        names.FILE_CA: keys.ca_cert,
    }


def server_certificate(keys: Keys, hosts: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """(certificate, private key) as PEM, for DNS names and IP addresses; RFC 5280 profile of a TLS server."""
    authority_key, authority = keys.authority()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fedloom aggregator")])
    certificate = (
        _certificate(subject, authority.subject, key.public_key(), now, SERVER_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def ending(files: Files) -> datetime:
    """Until when the certificate of an aggregator's files is good."""
    return x509.load_pem_x509_certificate(files[names.FILE_TLS_CERT]).not_valid_after_utc


def renewal_due(ends: datetime) -> datetime:
    """When a certificate that ends then is to be renewed."""
    return ends - SERVER_LIFETIME + RENEWED_AFTER


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
