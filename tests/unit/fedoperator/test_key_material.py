"""Keys, tokens and certificates, judged by OpenSSL's own verification through a real TLS handshake."""

import ssl
from datetime import UTC, datetime

import pytest

from fedapi import names
from fedapi.wire.tokens import job_key, site_token
from fedoperator.key_material import FILE_CA_KEY, FILE_MASTER, Keys, aggregator_files, site_files

NOW = datetime.now(UTC)
HOSTS = ("job-aggregator", "job-aggregator.ns.svc.cluster.local", "localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def keys():
    return Keys.generated(NOW)


def test_the_master_secret_round_trips_and_shows_nothing(keys):
    assert Keys.from_files(keys.files()) == keys
    shown = repr(keys)
    assert keys.master.hex() not in shown
    assert "PRIVATE" not in shown


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({FILE_MASTER: b""}, "lacks master.key"),
        ({FILE_MASTER: b"short"}, "32 bytes, not 5"),
        ({FILE_CA_KEY: b"not a key"}, "PEM"),
        ({names.FILE_CA: b""}, "lacks ca.crt"),
    ],
)
def test_a_damaged_master_secret_is_refused(keys, change, told):
    with pytest.raises(ValueError, match=told):
        Keys.from_files(keys.files() | change)


def test_tokens_are_those_that_the_aggregator_derives(keys):
    aggregator, site = aggregator_files(keys, "uid-1", HOSTS, NOW), site_files(keys, "uid-1", "site-a", NOW)
    assert set(aggregator) == {names.FILE_JOB_KEY, names.FILE_TLS_CERT, names.FILE_TLS_KEY, names.FILE_CA}
    assert set(site) == {names.FILE_TOKEN, names.FILE_TLS_CERT, names.FILE_TLS_KEY, names.FILE_CA}
    assert aggregator[names.FILE_JOB_KEY] == job_key(keys.master, "uid-1")
    assert site[names.FILE_TOKEN].decode() == site_token(aggregator[names.FILE_JOB_KEY], "site-a")
    assert site_files(keys, "uid-2", "site-a", NOW)[names.FILE_TOKEN] != site[names.FILE_TOKEN]


@pytest.mark.parametrize("host", [*HOSTS, "elsewhere"])
def test_a_tls_handshake_holds_for_exactly_these_hosts(keys, host, tmp_path):
    for name, content in aggregator_files(keys, "uid-1", HOSTS, NOW).items():
        (tmp_path / name).write_bytes(content)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / names.FILE_TLS_CERT, tmp_path / names.FILE_TLS_KEY)
    client = ssl.create_default_context(cafile=tmp_path / names.FILE_CA)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    if host == "elsewhere":
        with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
            handshake(client, server, host)
    else:
        handshake(client, server, host)


def handshake(client, server, host):
    """Both sides in memory, until the client is satisfied."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if side is near:
                return
    raise AssertionError("no end of the handshake")
