"""Certificates by an issuer of cert-manager's, on a real API server with its resource: asked for, waited for, and good for a connection."""

import base64
import ssl
from datetime import UTC, datetime

import pytest

from fedapi import names
from fedoperator.key_material import Keys
from tests.integration.fedoperator.certmanager import NAME, asked, definition, issue, told
from tests.integration.fedoperator.kit import SYSTEM, consortium, kinds, operator, until

pytestmark = pytest.mark.apiserver
SETTINGS = {
    "CERTIFICATE_ISSUER": '{"name": "company", "kind": "Issuer"}',
    "CERTIFICATE_LIFETIME_S": 7200,
    "RESYNC_S": 1,
}


@pytest.fixture
def certificates(api):
    """The cluster has the resource, but not its controller: tests play that."""
    api.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=definition())
    api.cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=60s")
    until(lambda: asked(api, "default") == [])
    yield
    api.cluster.kubectl("delete", "crd", NAME)


def secret(api, namespace, ending):
    found = api.listed("Secret", namespace, f"{names.LABEL_JOB}=heart")
    return next(each["data"] for each in found if ending in each["metadata"]["name"])


def workloads(api, namespace):
    found = kinds(api.children(namespace, "heart"))
    return found.get("Deployment", 0), found.get("Job", 0)


def written(folder, data):
    folder.mkdir()
    for name, value in data.items():
        (folder / name).write_bytes(base64.b64decode(value))
    return folder


def shaken(server_files, client_files, host):
    """A mutual handshake in memory, as strict as those of Python 3.13: the name in the client's certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(server_files / "ca.crt"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(server_files / "tls.crt", server_files / "tls.key")
    client = ssl.create_default_context(cafile=str(client_files / "ca.crt"))
    client.load_cert_chain(client_files / "tls.crt", client_files / "tls.key")
    for each in (server, client):
        each.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1].getpeercert()["subjectAltName"]


def test_an_issuer_makes_the_certificates_of_a_job(api, namespace, certificates, tmp_path):
    company = Keys.generated(datetime.now(UTC))
    with operator(api, tmp_path, **SETTINGS) as running:
        running.wait_ready()
        job = consortium(api, namespace, "site-a")
        found = until(lambda: len(listed := asked(api, namespace)) == 3 and listed)
        for each in found:
            spec = each["spec"]
            assert spec["issuerRef"] == {"name": "company", "kind": "Issuer", "group": "cert-manager.io"}
            assert (spec["duration"], spec["renewBefore"]) in {("7200s", "2400s"), ("2h0m0s", "40m0s")}
            assert each["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
            assert spec["secretName"] == each["metadata"]["name"]
        assert set(secret(api, namespace, "-aggregator-")) == {"job.key"}
        assert set(secret(api, namespace, "-site")) == {"token"}
        running.looks_again(namespace, 2)
        assert workloads(api, namespace) == (0, 0), "no pod is made that would miss its certificate"
        for each in found:
            issue(api, namespace, company, each)
        until(lambda: workloads(api, namespace) == (1, 2))
        server = written(tmp_path / "server", secret(api, namespace, "-aggregator-"))
        client = written(tmp_path / "client", secret(api, namespace, "-site"))
        assert set(secret(api, namespace, "-site")) == {"token", "tls.crt", "tls.key", "ca.crt"}
        named = shaken(server, client, f"heart-aggregator.{namespace}.svc.cluster.local")
        assert named == (("URI", f"spiffe://fedloom/job/{job['metadata']['uid']}/site/site-a"),)
        before = asked(api, namespace)
        running.looks_again(namespace, 3)
        assert asked(api, namespace) == before, "at rest nothing is written"


def test_a_certificate_that_nobody_issues_is_told(api, namespace, certificates, tmp_path):
    with operator(api, tmp_path, **SETTINGS) as running:
        running.wait_ready()
        consortium(api, namespace, "site-a")
        found = until(lambda: len(listed := asked(api, namespace)) == 3 and listed)
        for each in found:
            told(api, namespace, each, "False", 'issuer "company" not found')

        def said():
            status = api.get("FederatedJob", namespace, "heart").get("status", {})
            return [each["message"] for each in status.get("conditions", ()) if "has not issued" in each["message"]]

        message = until(said)[0]
        assert 'issuer "company" not found. `kubectl' in message
        assert f"`kubectl -n {namespace} describe issuer.cert-manager.io company`" in message
        assert "certificates.issuerRef" in message


def test_without_cert_manager_the_way_out_is_told(api, namespace, tmp_path):
    with operator(api, tmp_path, **SETTINGS) as running:
        running.wait_ready()
        consortium(api, namespace, "site-a")

        def said():
            status = api.get("FederatedJob", namespace, "heart").get("status", {})
            return [each for each in status.get("conditions", ()) if "install cert-manager" in each["message"]]

        until(said)
        assert api.get("Secret", SYSTEM, "fedloom-operator-keys"), "the master key is the operator's own in each case"
