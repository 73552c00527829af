"""What cert-manager is asked for: whom a certificate names is what the operator's own CA would name."""

from datetime import timedelta

import pytest
from cryptography import x509

from fedapi import names
from fedoperator.certificates import LONGEST, SHORTEST
from fedoperator.desired.certificate import Issuer, certificate
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.key_material import aggregator_files, init_files, site_files
from tests.unit.fedoperator.test_certificates import KEYS, NOW

HOSTS = ("heart-aggregator", "heart-aggregator.ns.svc")
OURS = {
    "Aggregator": aggregator_files(KEYS, "u", HOSTS, NOW),
    "Site": site_files(KEYS, "u", "berlin", NOW),
    "Init": init_files(KEYS, "u", NOW),
}


def request(kind):
    return SecretRequest("heart-x-0a1b2c3d", kind, {"a": "b"}, {"uid": "u"}, client="berlin", hosts=HOSTS)


@pytest.mark.parametrize("kind", OURS)
def test_it_names_whom_the_own_ca_names(kind):
    spec = certificate(request(kind), "ns", "u", Issuer("company"), SHORTEST)["spec"]
    made = x509.load_pem_x509_certificate(OURS[kind][names.FILE_TLS_CERT])
    named = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert spec.get("dnsNames", []) == named.get_values_for_type(x509.DNSName)
    assert spec.get("uris", []) == named.get_values_for_type(x509.UniformResourceIdentifier)
    purpose = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value[0]._name
    assert spec["usages"] == ["digital signature", {"serverAuth": "server auth", "clientAuth": "client auth"}[purpose]]


@pytest.mark.parametrize("lifetime", [SHORTEST, LONGEST])
def test_it_is_renewed_at_two_thirds_within_what_cert_manager_takes(lifetime):
    spec = certificate(request("Site"), "ns", "u", Issuer("company"), lifetime)["spec"]
    duration, before = (int(spec[name].removesuffix("s")) for name in ("duration", "renewBefore"))
    assert duration == lifetime.total_seconds() == 3 * before
    assert timedelta(seconds=duration) >= timedelta(hours=1)
    assert timedelta(seconds=before) >= timedelta(minutes=5)


def test_issuers_are_told_apart():
    every = [Issuer("a"), Issuer("b"), Issuer("a", "Issuer"), Issuer("a", group="x")]
    assert len({each.id for each in every}) == len(every)
