"""cert-manager's Certificate for a Secret of a job, where the installation has an issuer of its own. Pure.

cert-manager writes `tls.crt`, `tls.key` and `ca.crt` into the Secret that has its name, beside what the operator has put there, and
renews them. Whom it names is what the operator's own CA would have named.
"""

from dataclasses import dataclass
from datetime import timedelta

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire import subjects
from fedoperator.certificates import renewed_after
from fedoperator.desired.kinds import CERTIFICATE
from fedoperator.desired.secret_requests import SecretRequest

GROUP = "cert-manager.io"


@dataclass(frozen=True)
class Issuer:
    """Who signs: an Issuer of the job's namespace, or a ClusterIssuer."""

    name: str
    kind: str = "ClusterIssuer"
    group: str = GROUP

    @property
    def id(self) -> str:
        """Tells it from others; a part of the names of Secrets, as the id of the keys is."""
        return names.digest8(self.group, self.kind, self.name)


def certificate(request: SecretRequest, namespace: str, job_uid: str, issuer: Issuer, lifetime: timedelta) -> Json:
    """The manifest; of the Secret's name and owner."""
    return {
        "apiVersion": CERTIFICATE.api_version,
        "kind": CERTIFICATE.kind,
        "metadata": {
            "name": request.name,
            "namespace": namespace,
            "labels": dict(request.labels),
            "ownerReferences": [dict(request.owner)],
        },
        "spec": {
            "secretName": request.name,
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
            "duration": _text(lifetime),
            "renewBefore": _text(lifetime - renewed_after(lifetime)),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "revisionHistoryLimit": 1,
            **_named(request, job_uid),
        },
    }


def _named(request: SecretRequest, job_uid: str) -> Json:
    """Whom it is of, and what for: a server speaks for a server alone, a client for a client."""
    match request.kind:
        case "Aggregator":
            return {"dnsNames": list(request.hosts), "usages": ["digital signature", "server auth"]}
        case "Site":
            uri = subjects.site(job_uid, request.client)
        case "Init":
            uri = subjects.init(job_uid)
    return {"uris": [uri], "usages": ["digital signature", "client auth"]}


def _text(lifetime: timedelta) -> str:
    return f"{int(lifetime.total_seconds())}s"
