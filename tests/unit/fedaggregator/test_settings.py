"""The aggregator's settings and credentials."""

import pytest

from fedaggregator.errors import FatalError
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.settings import Credentials, Settings, credentials
from fedapi import names

CONTENTS = {names.FILE_JOB_KEY: bytes(32), names.FILE_TLS_CERT: b"c", names.FILE_TLS_KEY: b"k", names.FILE_CA: b"a"}


def test_keys_are_not_in_any_repr(tmp_path):
    secret = bytes(range(32))
    for name, data in (CONTENTS | {names.FILE_JOB_KEY: secret}).items():
        (tmp_path / name).write_bytes(data)
    found = credentials(tmp_path)
    for shown in (repr(found), repr(UrlSigner(secret, "https://x", 1.0))):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert isinstance(found, Credentials)


@pytest.mark.parametrize(
    ("name", "data"),
    [(names.FILE_JOB_KEY, None), (names.FILE_JOB_KEY, b"short"), (names.FILE_TLS_KEY, None), (names.FILE_CA, None)],
)
def test_missing_credentials_are_named(tmp_path, name, data):
    for file, content in (CONTENTS | {name: data}).items():
        if content is not None:
            (tmp_path / file).write_bytes(content)
    with pytest.raises(FatalError, match=name):
        credentials(tmp_path)


def test_settings_come_from_the_environment(monkeypatch):
    for name in (names.ENV_JOB, names.ENV_NAMESPACE, names.ENV_JOB_UID, names.ENV_PUBLIC_URL):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv(names.ENV_PORT, "1234")
    settings = Settings()
    assert (settings.port, settings.status, str(settings.store)) == (1234, "kubernetes", names.PATH_STORE)
