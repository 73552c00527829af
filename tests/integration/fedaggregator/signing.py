"""Scripted sites that have a key, and what a job is told of their public halves. Used by the tests of signatures."""

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire.protocol import KEY, SIGNATURES
from fedapi.wire.signature import SiteKey
from fedapi.wire.signing import SigningKey, signed
from fedapi.wire.site import Assignment, EvaluationReport, FailureReport, NextRequest
from fedapi.wire.update import UpdateEnvelope
from tests.integration.fedaggregator.harness import ORDER_WITHIN_S, SPEAKS, JobFolder, Site


def key(number: int) -> SigningKey:
    """The same key whenever it is asked for."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def public(of: SigningKey, **values) -> SiteKey:
    return SiteKey(public_key=of.public_key, **values)


class SigningSite(Site):
    """A site that signs what it sends, as the trainer does."""

    key: SigningKey | None = None

    def __init__(self, job: JobFolder, client: str, own: SigningKey, **values) -> None:
        super().__init__(job, client, **values)
        self.key = own

    def post(self, what: str, message) -> httpx.Response:
        if self.key is not None and isinstance(message, UpdateEnvelope | EvaluationReport | FailureReport):
            message = signed(self.key, message)
        return super().post(what, message)

    def next(self, wait_s: float = ORDER_WITHIN_S, doing=None) -> Assignment:
        said = SPEAKS | {"features": (*SPEAKS["features"], SIGNATURES, f"{KEY}{self.key.id}")}
        response = self.post("next", NextRequest(wait_s=wait_s, doing=doing, **said))
        response.raise_for_status()
        return Assignment.told(response.content)
