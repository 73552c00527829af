"""cert-manager's own controllers make the certificates of jobs: whom they name, how they are renewed and taken, what is told."""

import json
import re
import socket
from base64 import b64decode
from contextlib import closing
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedapi import names
from fedapi.wire import subjects
from fedapi.wire.site import NextRequest
from fedoperator.cluster.connection import MERGE_PATCH
from fedoperator.desired.kinds import CERTIFICATE, Kind
from fedtrainer.agent.hub_context import HubContext
from fedtrainer.agent.link import Link
from tests.cluster.errors import ClusterError
from tests.integration.fedaggregator.harness import SPEAKS, Aggregator, JobFolder, config
from tests.integration.fedaggregator.test_mutual_tls import written
from tests.integration.fedoperator.certmanager import asked
from tests.integration.fedoperator.kit import consortium, operator, until
from tests.integration.fedoperator.test_certmanager import SETTINGS, secret, shaken, workloads
from tests.long.certmanager import APPROVER, controllers
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.long, pytest.mark.apiserver, pytest.mark.timeout(3600)]
REQUEST = Kind("CertificateRequest", CERTIFICATE.group, "v1", "certificaterequests")
LIFETIME, HALF = timedelta(hours=2), timedelta(hours=1)


def made(api, namespace, kind, name, **spec):
    metadata = {"name": name, "namespace": namespace}
    body = {"apiVersion": CERTIFICATE.api_version, "kind": kind, "metadata": metadata, "spec": spec}
    api.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def authority(api, namespace, name, by):
    """A CA by an issuer, and the issuer that signs by it."""
    made(
        api, namespace, "Certificate", name, isCA=True, commonName=f"{name} CA", secretName=f"{name}-ca",
        privateKey={"algorithm": "ECDSA", "size": 384}, issuerRef={"name": by},
    )  # fmt: skip
    made(api, namespace, "Issuer", name, ca={"secretName": f"{name}-ca"})


def company(api, namespace):
    """The issuer of the settings: its CA is below the company's root."""
    made(api, namespace, "Issuer", "itself", selfSigned={})
    authority(api, namespace, "root", by="itself")
    authority(api, namespace, "company", by="root")


def files(api, namespace, ending):
    return {name: b64decode(value) for name, value in secret(api, namespace, ending).items()}


def leaf(files):
    return x509.load_pem_x509_certificate(files[names.FILE_TLS_CERT])


def ours(api, namespace):
    """The Certificates of the job."""
    return [each for each in asked(api, namespace) if names.LABEL_JOB in each["metadata"].get("labels", {})]


def changed(api, namespace, body):
    for each in ours(api, namespace):
        path = CERTIFICATE.path(namespace, each["metadata"]["name"])
        api.connection.request("PATCH", path, body, content_type=MERGE_PATCH)


def lifetimes(api, namespace):
    return {
        found.not_valid_after_utc - found.not_valid_before_utc
        for ending in ("-aggregator-", "-init-", "-site")
        for found in [leaf(files(api, namespace, ending))]
    }


def is_what_the_own_ca_makes(found, purpose):
    assert isinstance(found.public_key().curve, ec.SECP256R1)
    named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert named.critical, "as it must be where there is no subject"
    assert [each._name for each in found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [purpose]
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any((usage.key_cert_sign, usage.key_encipherment, usage.key_agreement))
    return named.value


def test_a_job_gets_its_certificates_and_takes_renewed_ones(api, namespace, tmp_path, monkeypatch):
    with controllers(api, tmp_path):
        company(api, namespace)
        with operator(api, tmp_path, **SETTINGS) as running:
            running.wait_ready()
            uid = consortium(api, namespace, "site-a")["metadata"]["uid"]
            until(lambda: workloads(api, namespace) == (1, 2))
            hub, site, init = (files(api, namespace, each) for each in ("-aggregator-", "-site", "-init-"))
            host = f"heart-aggregator.{namespace}.svc"
            assert host in is_what_the_own_ca_makes(leaf(hub), "serverAuth").get_values_for_type(x509.DNSName)
            for shown, subject in ((site, subjects.site(uid, "site-a")), (init, subjects.init(uid))):
                named = is_what_the_own_ca_makes(leaf(shown), "clientAuth")
                assert list(named) == [x509.UniformResourceIdentifier(subject)]
            assert lifetimes(api, namespace) == {LIFETIME}
            assert len(x509.load_pem_x509_certificates(hub[names.FILE_TLS_CERT])) == 2, "with the CA that is between"
            [root] = x509.load_pem_x509_certificates(hub[names.FILE_CA])
            assert root.subject == root.issuer
            assert site[names.FILE_CA] == init[names.FILE_CA] == hub[names.FILE_CA]
            running.looks_again(namespace, 3)
            taken(api, namespace, running, tmp_path, monkeypatch, config(("site-a",), certificates="Required", uid=uid))
        with operator(api, tmp_path, **SETTINGS | {"CERTIFICATE_LIFETIME_S": HALF.total_seconds()}) as running:
            running.wait_ready()
            until(lambda: lifetimes(api, namespace) == {HALF})
            running.looks_again(namespace, 3)
            assert running.lines("was refused") == [], "what is being issued anew is no trouble"


def taken(api, namespace, running, tmp_path, monkeypatch, job):
    """Real processes have what cert-manager made, and then what it renews, as a kubelet would bring it."""
    host, looked_up = f"heart-aggregator.{namespace}.svc", socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *rest, **more: looked_up(name.replace(host, "127.0.0.1"), *rest, **more)
    )

    def mounted():
        hub, site = (files(api, namespace, each) for each in ("-aggregator-", "-site"))
        written(tmp_path / "job" / "credentials", hub)
        written(tmp_path / "site", site)
        return hub, site

    hub, site = mounted()
    folder = JobFolder(tmp_path / "job", job, model=None)
    link = Link(f"https://{host}:{folder.port}", HubContext(tmp_path / "site", shows=True))
    headers = {"Authorization": f"Bearer {site[names.FILE_TOKEN].decode()}", "Content-Type": "application/json"}
    question = NextRequest(wait_s=0.0, **SPEAKS).model_dump_json().encode()

    def served_by():
        """The number of the certificate of the aggregator, on a new connection, which answered a site that has shown its own."""
        link.close()
        status, answer = link.post("/v1/sites/site-a/next", headers, question, PATIENCE_S)
        assert status == 200, answer
        return int(link._idle[0].getpeercert()["serialNumber"], 16)

    with closing(link), Aggregator(folder).ready():
        assert served_by() == leaf(hub).serial_number
        writes = api.writes(namespace)
        changed(api, namespace, {"spec": {"renewBefore": f"{LIFETIME.total_seconds() - 5:.0f}s"}})  # 5 s after issuance
        numbers = {leaf(each).serial_number for each in (hub, site)}
        until(lambda: not numbers & {leaf(files(api, namespace, e)).serial_number for e in ("-aggregator-", "-site")})
        changed(api, namespace, {"spec": {"renewBefore": "2400s"}})
        next_hub, next_site = mounted()
        until(lambda: served_by() == leaf(next_hub).serial_number)  # neither process was started anew
        for before, after in ((hub, next_hub), (site, next_site)):
            assert before.keys() == after.keys()
            differ = {name for name in before if before[name] != after[name]}
            assert differ == {names.FILE_TLS_CERT, names.FILE_TLS_KEY}, (
                "a key of its own, and the same job key and token"
            )
        running.looks_again(namespace, 2)
        assert api.writes(namespace) == writes, "the operator has no part in it"
    named = shaken(tmp_path / "job" / "credentials", tmp_path / "site", host)
    assert named == (("URI", subjects.site(job.uid, "site-a")),)


def told(api, namespace, words):
    """The message of the job's conditions that has these words."""
    status = api.get("FederatedJob", namespace, "heart").get("status", {})
    return next((each["message"] for each in status.get("conditions", ()) if words in each["message"]), "")


def said_by(api, message):
    """What the commands of a message show."""
    commands = [command.split() for command in re.findall("`([^`]+)`", message)]
    assert [command[0] for command in commands] == ["kubectl", "kubectl"]

    def shown(words):
        try:
            return api.cluster.kubectl(*words)
        except ClusterError as error:
            return str(error)

    return [shown(command[1:]) for command in commands]


def test_an_issuer_that_is_missing_is_told_and_jobs_go_on_when_it_is_there(api, namespace, tmp_path):
    with controllers(api, tmp_path), operator(api, tmp_path, **SETTINGS) as running:
        running.wait_ready()
        consortium(api, namespace, "site-a")
        message = until(lambda: told(api, namespace, "Issuer company has not issued Certificate heart-"))
        assert "set certificates.issuerRef to another" in message
        issuer, requests = said_by(api, message)
        assert '"company" not found' in issuer
        assert 'issuer.cert-manager.io "company" not found' in requests
        made(api, namespace, "Issuer", "company", ca={"secretName": "company-ca"})
        until(lambda: "does not have a Ready" in said_by(api, message)[1])
        assert '"company-ca" not found' in said_by(api, message)[0]
        assert workloads(api, namespace) == (0, 0)
        company(api, namespace)
        until(lambda: workloads(api, namespace) == (1, 2))
        until(lambda: not told(api, namespace, "has not issued"))


def test_a_request_that_is_denied_is_told_and_asked_for_again_once_its_certificate_is_deleted(api, namespace, tmp_path):
    def judged(condition):
        for each in api.connection.request("GET", REQUEST.path(namespace))["items"]:
            if not each.get("status", {}).get("conditions"):
                said = {"type": condition, "status": "True", "reason": "Policy", "message": "no site of ours"}
                body = {
                    "status": {"conditions": [said | {"lastTransitionTime": each["metadata"]["creationTimestamp"]}]}
                }
                path = REQUEST.path(namespace, each["metadata"]["name"], "status")
                api.connection.request("PATCH", path, body, content_type=MERGE_PATCH)

    with controllers(api, tmp_path, APPROVER), operator(api, tmp_path, **SETTINGS) as running:
        running.wait_ready()
        made(api, namespace, "Issuer", "company", selfSigned={})
        consortium(api, namespace, "site-a")
        message = until(lambda: judged("Denied") or told(api, namespace, "has not issued"))
        assert "no site of ours" in "".join(said_by(api, message))
        until(lambda: told(api, namespace, "The certificate request has failed to complete"))
        api.cluster.kubectl("-n", namespace, "delete", "certificates", "--all")
        until(lambda: judged("Approved") or workloads(api, namespace) == (1, 2))
