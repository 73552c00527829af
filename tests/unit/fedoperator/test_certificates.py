"""Certificates: how long they are good, when they are renewed, and whom they name; judged by OpenSSL's own verification."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedapi import names
from fedapi.wire import subjects
from fedoperator.certificates import CLOCK_SKEW, LIFETIME, LONGEST, SHORTEST, ending, renewal_due, renewed_after
from fedoperator.key_material import Keys, aggregator_files, init_files, registry_files, site_files

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = Keys.generated(NOW)
HOSTS = ("localhost", "127.0.0.1")
MADE = {
    "aggregator": (aggregator_files(KEYS, "u", HOSTS, NOW), ExtendedKeyUsageOID.SERVER_AUTH, []),
    "registry": (registry_files(KEYS, HOSTS, NOW), ExtendedKeyUsageOID.SERVER_AUTH, []),
    "site": (site_files(KEYS, "u", "site-a", NOW), ExtendedKeyUsageOID.CLIENT_AUTH, [subjects.site("u", "site-a")]),
    "init": (init_files(KEYS, "u", NOW), ExtendedKeyUsageOID.CLIENT_AUTH, [subjects.init("u")]),
}


@pytest.mark.parametrize("whose", MADE)
def test_each_lives_a_day_and_speaks_for_one_party_in_one_part(whose):
    files, purpose, named = MADE[whose]
    made = x509.load_pem_x509_certificate(files[names.FILE_TLS_CERT])
    assert made.not_valid_before_utc == NOW - CLOCK_SKEW
    assert ending(files[names.FILE_TLS_CERT]) == NOW + LIFETIME == NOW + timedelta(days=1)
    extensions = made.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    alternatives = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.UniformResourceIdentifier) == named
    assert bool(alternatives.get_values_for_type(x509.DNSName)) is not bool(named)
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(KEYS.ca_cert))


def test_the_authority_signs_certificates_alone_and_no_authorities():
    authority = x509.load_pem_x509_certificate(KEYS.ca_cert)
    assert authority.not_valid_after_utc - NOW > timedelta(days=3640)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_nobody_is_named_as_another():
    every = [subjects.site("u", "a"), subjects.site("u", "b"), subjects.site("v", "a"), subjects.init("u")]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("ends_in", "due_in"),
    [
        (LIFETIME, renewed_after(LIFETIME)),  # fresh: at two thirds
        (LIFETIME / 3, timedelta()),
        (timedelta(hours=1), timedelta(hours=-7)),
        (-timedelta(days=2), -timedelta(days=2) - LIFETIME / 3),  # the operator was away
        (timedelta(days=365), timedelta()),  # made when they lived a year: replaced at once
    ],
)
def test_when_it_is_renewed(ends_in, due_in):
    assert renewal_due(NOW + ends_in, NOW, LIFETIME) - NOW == due_in


@pytest.mark.parametrize("lifetime", [SHORTEST, LIFETIME, LONGEST])
def test_every_lifetime_leaves_a_third(lifetime):
    files = site_files(KEYS, "u", "a", NOW, lifetime=lifetime)
    ends = ending(files[names.FILE_TLS_CERT])
    assert ends == NOW + lifetime
    assert ends - renewal_due(ends, NOW, lifetime) == lifetime / 3


@pytest.mark.parametrize(
    ("purpose", "whose"), [(ssl.Purpose.SERVER_AUTH, "site"), (ssl.Purpose.CLIENT_AUTH, "aggregator")]
)
def test_a_sites_certificate_serves_nobody_and_an_aggregators_asks_nobody(tmp_path, purpose, whose):
    """A context verifies by its purpose: with one side's certificate nobody plays the other."""
    for name, content in MADE[whose][0].items():
        (tmp_path / name).write_bytes(content)
    verifying = ssl.create_default_context(purpose, cafile=str(tmp_path / names.FILE_CA))
    verifying.check_hostname = False
    verifying.verify_mode = ssl.CERT_REQUIRED
    showing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if whose == "site" else ssl.PROTOCOL_TLS_CLIENT)
    showing.check_hostname = False
    showing.verify_mode = ssl.CERT_NONE
    showing.load_cert_chain(tmp_path / names.FILE_TLS_CERT, tmp_path / names.FILE_TLS_KEY)
    if whose == "aggregator":  # as a client; the other side needs a certificate to serve with
        verifying.load_cert_chain(tmp_path / names.FILE_TLS_CERT, tmp_path / names.FILE_TLS_KEY)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(*((verifying, showing) if whose == "site" else (showing, verifying)))


def handshake(client, server):
    """Both sides in memory, until one objects."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    raise AssertionError("nobody objects")
