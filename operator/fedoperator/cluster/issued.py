"""Certificates that cert-manager issues: asked for by an object beside each Secret, and waited for. Called by secret_store.py.

The answer to the write tells whether it is issued: nothing of cert-manager's is watched, and no Secret is read.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.connection import APPLY_PATCH, Connection
from fedoperator.cluster.writes import Count
from fedoperator.desired.certificate import Issuer, certificate
from fedoperator.desired.kinds import CERTIFICATE
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.errors import AwaitedError, GoneError, RefusedError

PATIENCE = timedelta(seconds=30)  # cert-manager takes a second or two: until then nobody is told
_SOON_S = 2.0
_QUERY = {"fieldManager": names.OPERATOR_MANAGER, "force": "true"}


class IssuedCertificates:
    """Of one issuer."""

    def __init__(
        self, connection: Connection, issuer: Issuer, lifetime: timedelta, now: Callable[[], datetime], count: Count
    ) -> None:
        self._connection, self._issuer, self._lifetime = connection, issuer, lifetime
        self._now, self._count = now, count

    def require(self, request: SecretRequest, namespace: str, job_uid: str) -> None:
        """Returns when the Secret has its certificate: AwaitedError while it is new, RefusedError when nobody issues it."""
        manifest = certificate(request, namespace, job_uid, self._issuer, self._lifetime)
        self._count(CERTIFICATE.kind, "apply")
        path = CERTIFICATE.path(namespace, request.name)
        try:
            live = self._connection.request("PATCH", path, manifest, content_type=APPLY_PATCH, query=_QUERY)
        except GoneError as error:
            way_out = "install cert-manager, or take certificates.issuerRef away"
            raise RefusedError(f"the cluster has no Certificates of {CERTIFICATE.group}: {way_out}", 404) from error
        ready = _condition(live, "Ready")
        if ready.get("status") == "True" and ready.get("observedGeneration") == live["metadata"]["generation"]:
            return
        told = f"{self._issuer.kind} {self._issuer.name} has not issued Certificate {request.name}"
        if self._now() < _asked(live) + PATIENCE:
            raise AwaitedError(told, _SOON_S)
        raise RefusedError(f"{told}: {_reason(live)}", 0)


def _asked(live: Json) -> datetime:
    """When the operator last changed what it asks for: an older Certificate may be of another lifetime."""
    ours = (each for each in live["metadata"]["managedFields"] if each["manager"] == names.OPERATOR_MANAGER)
    return datetime.fromisoformat(next(each["time"] for each in ours if each["operation"] == "Apply"))


def _condition(live: Json, kind: str) -> Json:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def _reason(live: Json) -> str:
    """What cert-manager says on the Certificate, and where it says more: an issuer that is missing or not ready is on its request alone."""
    ready, issuing = _condition(live, "Ready"), _condition(live, "Issuing")
    failed = issuing.get("status") == "False"
    if not (said := issuing.get("message") if failed else ready.get("message")):
        return "cert-manager says nothing of it: does it run?"
    namespace, ref = live["metadata"]["namespace"], live["spec"]["issuerRef"]
    issuer = f"kubectl -n {namespace} describe {ref['kind']}.{ref['group']} {ref['name']}".lower()
    request = f"kubectl -n {namespace} describe certificaterequests"
    return f"{said}. `{issuer}` and `{request}` tell why: mend the issuer, or set certificates.issuerRef to another"
