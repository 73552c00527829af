"""Enrollment on a real API server: what the operator says of the site, who may come in, and what two commands at once do."""

import base64
import re
from datetime import UTC, datetime

import pytest

from fedapi.wire.signing import SigningKey
from fedoperator.key_material import Keys
from tests import commands
from tests.integration.fedoperator.kit import ROOT, operator, site, until

pytestmark = pytest.mark.apiserver


def fedloom(api, *words, code=0):
    where = () if "join" in words else ("--kubeconfig", str(api.cluster.kubeconfig))
    done = commands.fedloom("site", *words, *where, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def keys(api, namespace):
    """The installation's, in that namespace, in the middle of a CA's replacement."""
    made, following = (Keys.generated(datetime.now(UTC)) for _ in range(2))
    files = made.files() | {"next-ca.crt": following.ca_cert, "next-ca.key": following.ca_key}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": namespace}, "data": data}
    api.connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
    return made.ca_cert + following.ca_cert


def enroll(api, namespace, name, *words, code=0):
    return fedloom(
        api,
        "enroll",
        name,
        "-n",
        namespace,
        "--keys-secret",
        "keys",
        "--release-namespace",
        namespace,
        *words,
        code=code,
    )


def joined(api, folder, command):
    folder.mkdir()
    token = command.strip().rpartition(" ")[2]
    request = fedloom(api, "join", token, "--file", folder / "signing.key", "--ca", folder / "ca.crt").strip()
    return request, SigningKey.of_pem((folder / "signing.key").read_bytes())


def approve(api, namespace, name, request, *words, code=0):
    return fedloom(api, "approve", name, "-n", namespace, "--request", request, *words, code=code)


def spec(api, namespace, name):
    return api.get("FLClient", namespace, name)["spec"]


def test_a_site_enrolls(api, namespace, keys, tmp_path):
    command = enroll(api, namespace, "berlin", "--provider", "OnPremises")
    assert set(spec(api, namespace, "berlin")["enrollment"]["joinToken"]) == {"publicKey", "notAfter", "caFingerprints"}
    request, key = joined(api, tmp_path / "berlin", command)
    assert (tmp_path / "berlin/ca.crt").read_bytes() == keys
    assert "compare the key id" in approve(api, namespace, "berlin", request, code=1), "nobody is there to say yes"
    assert "keys" not in spec(api, namespace, "berlin").get("identity", {})
    approve(api, namespace, "berlin", request, "--key-id", key.id)
    found = spec(api, namespace, "berlin")
    assert [each["publicKey"] for each in found["identity"]["keys"]] == [key.public_key]
    assert "enrollment" not in found
    assert "nothing to do" in approve(api, namespace, "berlin", request, "--key-id", key.id), (
        "a command that was cut off"
    )
    thief, stolen = joined(api, tmp_path / "thief", command)
    assert "no token" in approve(api, namespace, "berlin", thief, "--key-id", stolen.id, code=1)


def test_a_site_with_a_key_enrolls_another_and_keeps_the_first(api, namespace, keys, tmp_path):
    first = {"publicKey": base64.b64encode(bytes(32)).decode(), "revoked": True}
    api.create(site(namespace, "berlin", identity={"keys": [first]}))
    request, key = joined(api, tmp_path / "berlin", enroll(api, namespace, "berlin"))
    approve(api, namespace, "berlin", request, "--key-id", key.id)
    assert [each["publicKey"] for each in spec(api, namespace, "berlin")["identity"]["keys"]] == [
        first["publicKey"],
        key.public_key,
    ]


def test_requests_for_others_and_of_others_are_refused(api, namespace, keys, tmp_path):
    berlin, key = joined(api, tmp_path / "berlin", enroll(api, namespace, "berlin", "--provider", "AWS"))
    enroll(api, namespace, "bern", "--provider", "AWS")
    assert "of site" in approve(api, namespace, "bern", berlin, "--key-id", key.id, code=1)
    assert "somebody else has the token" in approve(api, namespace, "berlin", berlin, "--key-id", "0" * 32, code=1)
    fedloom(api, "deny", "berlin", "-n", namespace)
    assert spec(api, namespace, "berlin")["enrollment"] == {}
    assert "no token" in approve(api, namespace, "berlin", berlin, "--key-id", key.id, code=1)
    assert "already exists" in enroll(api, namespace, "berlin", "--provider", "AWS", code=1), (
        "nobody's FLClient is replaced"
    )
    assert "not found" in enroll(api, namespace, "munich", code=1)


def test_of_two_approvals_at_once_one_is_done(api, namespace, keys, tmp_path):
    """Both have read the same FLClient: the API server takes the first, and the second one's is of an older version."""
    from fedapi.wire.enrollment import JoinRequest
    from fedcli import joining
    from fedcli.enrolled import Place, Site
    from fedcli.errors import ClusterError

    command = enroll(api, namespace, "berlin", "--provider", "AWS")
    requests = [JoinRequest.of_text(joined(api, tmp_path / name, command)[0]) for name in ("one", "two")]
    place = Place(None, namespace, api.cluster.kubeconfig, None)
    seen = [Site.found(place, "berlin") for _ in requests]
    seen[0].change(joining.let_in(seen[0].spec, requests[0].public_key))
    with pytest.raises(ClusterError, match="the object has been modified"):
        seen[1].change(joining.let_in(seen[1].spec, requests[1].public_key))
    assert [each["publicKey"] for each in spec(api, namespace, "berlin")["identity"]["keys"]] == [
        requests[0].public_key
    ]


def test_the_operator_tells_who_has_not_joined(api, namespace, keys, tmp_path):
    def ready():
        conditions = api.get("FLClient", namespace, "berlin")["status"]["conditions"]
        return {each["type"]: (each["status"], each["reason"]) for each in conditions}["Ready"]

    command = enroll(api, namespace, "berlin", "--provider", "AWS")
    with operator(api, tmp_path, RESYNC_S=1) as running:
        running.wait_ready()
        until(lambda: ready() == ("False", "NotEnrolled"))
        request, key = joined(api, tmp_path / "berlin", command)
        approve(api, namespace, "berlin", request, "--key-id", key.id)
        until(lambda: ready() == ("True", "Ready"))


def documented():
    """The commands of the page, without what stands for the lines that they print."""
    page = (ROOT / "docs/enrollment.md").read_text()
    lines = re.findall(r"^\$ fedloom site ([^#\n]*)", page, re.MULTILINE)
    return [[word for word in line.split() if "…" not in word] for line in lines]


def test_the_commands_of_the_page_do_what_it_says(api, namespace, keys, tmp_path):
    enrolling, joining, approving = (
        [namespace if word == "hospitals" else word for word in each] for each in documented()
    )
    where = ("--keys-secret", "keys", "--release-namespace", namespace)
    token = fedloom(api, *enrolling, *where).strip().rpartition(" ")[2]
    files = ("--file", tmp_path / "signing.key", "--ca", tmp_path / "ca.crt")
    request = fedloom(api, *joining, token, *files).strip()
    key = SigningKey.of_pem((tmp_path / "signing.key").read_bytes())
    assert f"signs by key id {key.id} from now on" in fedloom(api, *approving, request, "--key-id", key.id)
