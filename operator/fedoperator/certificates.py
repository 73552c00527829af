"""Certificates of the installation's own CA: who is named in them, how long they are good, when they are renewed. Pure but for entropy.

Called by key_material.py, which puts them into Secrets. ECDSA P-256, RFC 5280 profiles: a server's names the hosts by which it is
reached and speaks for a server alone, a client's names one site or init step of one job (fedapi.wire.subjects) and speaks for a
client alone. They live a day unless it is set otherwise, so that a stolen one is soon worth nothing; who uses them takes new ones
without a restart.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=1)  # unless it is set
SHORTEST, LONGEST = (
    timedelta(hours=1),
    timedelta(days=30),
)  # that it may be set to; a third of it has to do for a restart
CLOCK_SKEW = timedelta(minutes=5)  # a certificate is valid a little before it was made

Authority = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def authority_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """A CA's own."""
    name = _named("Fedloom CA")
    return (
        _certificate(name, name, key.public_key(), now, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def server_certificate(
    authority: Authority, hosts: Sequence[str], now: datetime, lifetime: timedelta
) -> tuple[bytes, bytes]:
    """(certificate, private key) as PEM, for DNS names and IP addresses."""
    named = [_host(each) for each in hosts]
    return _issued(authority, "Fedloom aggregator", named, ExtendedKeyUsageOID.SERVER_AUTH, (now, lifetime))


def client_certificate(authority: Authority, subject: str, now: datetime, lifetime: timedelta) -> tuple[bytes, bytes]:
    """(certificate, private key) as PEM, of the client that a URI names."""
    named = [x509.UniformResourceIdentifier(subject)]
    return _issued(authority, "Fedloom client", named, ExtendedKeyUsageOID.CLIENT_AUTH, (now, lifetime))


def ending(certificate: bytes) -> datetime:
    """Until when a certificate, PEM, is good."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def renewed_after(lifetime: timedelta) -> timedelta:
    """How old a certificate becomes. The third that is left is for an operator that is away, or may not write."""
    return lifetime * 2 / 3


def renewal_due(ends: datetime, now: datetime, lifetime: timedelta) -> datetime:
    """When a certificate that ends then is to be renewed: at once, if it lives longer than those that are made now."""
    return now if ends > now + lifetime else ends - lifetime + renewed_after(lifetime)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key, unencrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _issued(
    authority: Authority,
    name: str,
    named: Sequence[x509.GeneralName],
    purpose: ObjectIdentifier,
    validity: tuple[datetime, timedelta],
) -> tuple[bytes, bytes]:
    authority_key, authority_certificate_ = authority
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate(_named(name), authority_certificate_.subject, key.public_key(), *validity)
        .add_extension(x509.SubjectAlternativeName(named), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), pem(key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


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
