"""Secrets of the user become files that only he reads, as a cluster would take them."""

import base64
import stat

import pytest

from fedlocal import user_secrets
from fedlocal.statefolder import StateFolder


def secret(**more):
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "fedloom-store-a"}} | more


def test_files_are_the_owners_alone_and_go_with_their_keys(tmp_path):
    state = StateFolder(tmp_path)
    encoded = base64.b64encode(b"id").decode()
    user_secrets.put(state, secret(data={"AWS_ACCESS_KEY_ID": encoded, "old": encoded}))
    user_secrets.put(state, secret(data={"AWS_ACCESS_KEY_ID": encoded}, stringData={"AWS_SECRET_ACCESS_KEY": "s"}))
    folder = state.secret("fedloom-store-a")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "AWS_ACCESS_KEY_ID": b"id",
        "AWS_SECRET_ACCESS_KEY": b"s",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"data": {"k": "not base64!"}}, "data.k", "is not base64: give it in stringData"),
        ({"stringData": {"k": 7}}, "stringData.k", "must be a string"),
        ({"stringData": {"../k": "v"}}, "stringData.../k", "is no file name"),
        ({"data": "k"}, "data", "is no mapping"),
    ],
)
def test_what_a_cluster_refuses_is_refused_without_showing_a_value(body, field, words):
    ((where, message),) = user_secrets.findings(secret(**body))
    assert where == field
    assert words in message
    assert "not base64!" not in message
