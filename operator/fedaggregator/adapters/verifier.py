"""The verifier that a job names, asked over HTTPS. What its answer is worth is judged in fedapi.wire.appraisal. Blocking."""

import http.client
import ssl
from urllib.parse import urlsplit

from fedaggregator.errors import EvidenceUnavailableError
from fedapi.https_server import HttpsServer
from fedapi.wire.attestation import Verifier

_ANSWER_S = 60.0
_LONGEST_ANSWER_BYTES = 1 << 20


def verdict(verifier: Verifier, question: bytes) -> bytes:
    """Its answer; EvidenceUnavailableError when there is none."""
    try:
        server, path = HttpsServer.of(verifier.url), urlsplit(verifier.url).path or "/"
        context = ssl.create_default_context(cadata=verifier.ca)
        connection = http.client.HTTPSConnection(*server, context=context, timeout=_ANSWER_S)
        try:
            connection.request("POST", path, question, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read(_LONGEST_ANSWER_BYTES)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _none(verifier, f"{type(error).__name__}: {error}") from error
    if answer.status != http.client.OK:
        raise _none(verifier, f"HTTP {answer.status} {body[:200].decode(errors='replace')}")
    return body


def _none(verifier: Verifier, what: str) -> EvidenceUnavailableError:
    way_out = "start it, or take aggregator.confidential.verifier back: sites ask verifiers of their own"
    return EvidenceUnavailableError(f"the verifier at {verifier.url} does not appraise: {what}: {way_out}")
