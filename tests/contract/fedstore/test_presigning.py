"""The contract of URLs that a store itself takes: who has one and nothing else can put one object once, or read it.

What an emulator does not look at (Google's: signature, expiry, length) is tested by the signed text: test_signed_text.py.
"""

import hashlib
import os
import ssl
import subprocess
import sys
import time

import httpx
import pytest

from fedapi.wire.message import ObjectRef
from fedstore.opening import open_store
from tests.servers.gcskeys import service_account

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()
LIFETIME_S = 1800


@pytest.fixture(params=["gcs", "azure"])
def served(request, tmp_path):
    """A store that makes URLs, one that reads what came, and a client that trusts their server."""
    if request.param == "gcs":
        server = request.getfixturevalue("fake_gcs")
        place = server.place()
        signing = server.credentials(tmp_path / "signing")
        (signing / "service-account.json").write_text(service_account())
        stores = open_store(place, signing), open_store(place, server.credentials(tmp_path / "credentials"))
    else:
        server = request.getfixturevalue("azurite")
        store = open_store(server.place(), server.credentials(tmp_path / "credentials"))
        stores = store, store
    with httpx.Client(verify=ssl.create_default_context(cafile=str(server.ca)), trust_env=False) as client:
        yield *stores, client


@pytest.fixture
def azure(azurite, tmp_path):
    store = open_store(azurite.place(), azurite.credentials(tmp_path / "credentials"))
    with httpx.Client(verify=ssl.create_default_context(cafile=str(azurite.ca)), trust_env=False) as client:
        yield store, client


def ref(name="a.safetensors", data=DATA):
    return ObjectRef(key=f"updates/ns/job/site/{name}", sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def sent(client, url, data=DATA, **changes):
    headers = {**url.headers, **changes}
    return client.request(url.method, url.url, content=data, headers=headers)


def test_an_object_is_put_and_read_by_url(served):
    signing, store, client = served
    now = time.time()
    put = signing.presigned_put(ref(), now, LIFETIME_S)
    assert put.expires_at == pytest.approx(now + LIFETIME_S)
    assert sent(client, put).is_success
    assert store.arrived(ref()) == ""
    assert store.get(ref().key) == DATA
    get = signing.presigned_get(ref(), now, LIFETIME_S)
    assert client.request(get.method, get.url, headers=get.headers).content == DATA
    part = client.request(get.method, get.url, headers={**get.headers, "Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DATA[100:200])


def test_what_is_not_what_was_announced_is_told(served):
    signing, store, client = served
    assert store.arrived(ref()) == "it is not there"
    url = signing.presigned_put(ref(), time.time(), LIFETIME_S)
    sent(client, url, DATA[::-1])
    assert f"not {SHA}" in store.arrived(ref())
    short = ref("b.safetensors")
    sent(client, signing.presigned_put(short, time.time(), LIFETIME_S), DATA[:100])
    assert store.arrived(short) == f"it has 100 bytes, not {len(DATA)}"


def test_nothing_of_a_url_is_printed(served):
    signing, _, _ = served
    url = signing.presigned_put(ref(), time.time(), LIFETIME_S)
    assert "http" not in repr(url)
    assert SHA not in repr(url)


def test_azure_refuses_what_the_url_does_not_grant(azure):
    store, client = azure
    now = time.time()
    put = store.presigned_put(ref(), now, LIFETIME_S)
    assert sent(client, put, **{"if-none-match": ""}).is_success
    for changes in ({}, {"if-none-match": ""}):
        assert not sent(client, put, DATA[::-1], **changes).is_success, "written once, whatever headers come"
    assert store.get(ref().key) == DATA
    assert client.get(put.url).status_code == 403, "who may write may not read"
    get = store.presigned_get(ref(), now, LIFETIME_S)
    assert client.put(get.url, content=b"x", headers=put.headers).status_code == 403
    assert client.delete(get.url).status_code == 403
    other = get.url.replace("a.safetensors", "b.safetensors")
    assert client.get(other).status_code == 403
    assert client.get(store.presigned_get(ref(), now - 2 * LIFETIME_S, LIFETIME_S).url).status_code == 403
    late = store.presigned_put(ref("late"), now - 2 * LIFETIME_S, LIFETIME_S)
    assert sent(client, late).status_code == 403
    assert store.size(ref("late").key) is None


TALKATIVE = """
import sys, time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from fedapi import jsonlog
from fedstore.opening import open_store
jsonlog.configure("DEBUG")
writing, signing = (open_store(sys.argv[1], Path(folder)) for folder in sys.argv[2:])
url = signing.presigned_get(writing.put_once("models/a", b"1"), time.time(), 600).url
said = dict(parse_qsl(urlsplit(url).query))
print(next(said[name] for name in ("X-Amz-Signature", "X-Goog-Signature", "sig") if name in said))
"""


@pytest.mark.parametrize("name", ["seaweedfs", "azurite", "fake_gcs"])
def test_no_sdk_logs_what_it_signs_or_each_of_its_requests(request, tmp_path, name):
    server = request.getfixturevalue(name)
    folders = [server.credentials(tmp_path / each) for each in ("writing", "signing")]
    if name == "fake_gcs":
        (folders[1] / "service-account.json").write_text(service_account())
    command = [sys.executable, "-c", TALKATIVE, server.place(), *map(str, folders)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    assert len(signature := done.stdout.strip()) > 20
    assert signature not in done.stderr
    assert "models/a" not in done.stderr
