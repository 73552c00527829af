"""`fedloom registry token` on a real API server: the token of the generation in force, readable by its owner alone."""

import base64
import json
import stat

import pytest

from fedapi import names
from fedapi.wire.tokens import heartbeat_token
from tests import commands
from tests.integration.fedregistry.harness import KEY, KEYS

pytestmark = pytest.mark.apiserver
NAME = "fedloom-registry"


def token(api, namespace, *words):
    where = ("-n", namespace, "--kubeconfig", str(api.cluster.kubeconfig))
    return commands.fedloom("registry", "token", *words, *where, check=False)


@pytest.fixture
def registry(api, namespace):
    def made(kind, **data):
        path = f"/api/v1/namespaces/{namespace}/{kind}"
        body = {"apiVersion": "v1", "metadata": {"name": NAME, "namespace": namespace}, "data": data}
        api.connection.request("POST", path, body)

    files = {names.FILE_REGISTRY_KEY: KEY, names.FILE_CA: KEYS.ca_cert}
    made("secrets", **{name: base64.b64encode(content).decode() for name, content in files.items()})
    made("configmaps", **{"generations.json": json.dumps({"hospitals/stolen": 3})})


def test_a_token_is_printed_or_put_where_its_site_takes_it(api, namespace, registry, tmp_path):
    assert token(api, namespace, "hospitals/berlin").stdout.strip() == heartbeat_token(KEY, "hospitals/berlin")
    assert token(api, namespace, "hospitals/stolen").stdout.strip() == heartbeat_token(KEY, "hospitals/stolen", 3)
    done = token(api, namespace, "hospitals/berlin", "--to", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    written = tmp_path / "site" / names.FILE_REGISTRY_TOKEN
    assert written.read_text().strip() == heartbeat_token(KEY, "hospitals/berlin")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert (tmp_path / "site" / names.FILE_CA).read_bytes() == KEYS.ca_cert
    assert heartbeat_token(KEY, "hospitals/berlin") not in done.stdout


@pytest.mark.parametrize(
    ("client_id", "words"), [("berlin", "NAMESPACE/NAME"), ("a/b/c", "NAMESPACE/NAME"), ("a/B", "NAMESPACE/NAME")]
)
def test_what_is_no_client_id_is_refused(api, namespace, client_id, words):
    done = token(api, namespace, client_id)
    assert done.returncode == 1
    assert words in done.stderr


def test_without_a_registry_it_says_so(api, namespace):
    done = token(api, namespace, "hospitals/berlin")
    assert done.returncode == 1
    assert NAME in done.stderr
