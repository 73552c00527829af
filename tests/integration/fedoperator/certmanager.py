"""cert-manager's own CustomResourceDefinitions, out of its Go module, and what its controller does, played by tests.

The controller itself runs in tests/long.
"""

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509

from fedoperator.certificates import client_certificate, server_certificate
from fedoperator.cluster.connection import APPLY_PATCH, MERGE_PATCH
from fedoperator.desired.kinds import CERTIFICATE, SECRET
from fedoperator.key_material import Keys
from tests.cluster import tools

MODULE = "github.com/cert-manager/cert-manager@v1.21.2"
SUM = "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68="  # of the module's content, as in a go.sum
NAME = "certificates.cert-manager.io"
FORCED = {"fieldManager": "cert-manager-certificates-issuing", "force": "true"}


def definition(resource: str = "certificates") -> str:
    """The YAML."""
    return (tools.module(MODULE, SUM) / f"deploy/crds/cert-manager.io_{resource}.yaml").read_text()


def asked(api, namespace: str) -> list[dict]:
    """The Certificates of a namespace."""
    return api.connection.request("GET", CERTIFICATE.path(namespace))["items"]


def issue(api, namespace: str, authority: Keys, certificate: dict) -> None:
    """What the controller does with one: the Secret gets three files more, by server-side apply, and the object is Ready."""
    spec, name, now = certificate["spec"], certificate["metadata"]["name"], datetime.now(UTC)
    lived = timedelta(seconds=int(spec["duration"].removesuffix("h0m0s").removesuffix("s")))
    if "server auth" in spec["usages"]:
        made = server_certificate(authority.authority(), spec["dnsNames"], now, lived)
    else:
        made = client_certificate(authority.authority(), *spec["uris"], now, lived)
    files = dict(zip(("tls.crt", "tls.key", "ca.crt"), (*made, authority.ca_cert), strict=True))
    data = {file: base64.b64encode(content).decode() for file, content in files.items()}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": spec["secretName"]},
        "data": data,
    }
    api.connection.request(
        "PATCH", SECRET.path(namespace, spec["secretName"]), body, content_type=APPLY_PATCH, query=FORCED
    )
    told(api, namespace, certificate, "True", "Certificate is up to date and has not expired")
    assert x509.load_pem_x509_certificate(made[0]), name


def told(api, namespace: str, certificate: dict, status: str, message: str) -> None:
    """Its condition Ready."""
    now, metadata = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), certificate["metadata"]
    ready = {"type": "Ready", "status": status, "reason": "Test", "message": message, "lastTransitionTime": now}
    body = {"status": {"conditions": [ready | {"observedGeneration": metadata["generation"]}]}}
    path = CERTIFICATE.path(namespace, metadata["name"], "status")
    api.connection.request("PATCH", path, body, content_type=MERGE_PATCH)
