"""How a site asks the aggregator for evidence that it runs in a trusted execution environment, and what that evidence is bound to.

The words are those of RFC 9334 (RATS): the aggregator's guest is the attester, the site is the relying party, and the verifier,
which the site chose, appraises (appraisal.py). Used by fedaggregator.requests and fedtrainer.agent; the CRDs are told by it.

    POST /v1/sites/{client}/attest   AttestationRequest -> Attestation
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.ciphertext import Kem
from fedapi.wire.message import Inline, Message, Name, Sha256

Tee = Literal["SEV-SNP", "TDX", "NitroEnclave"]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UpdateKeys = Annotated[dict[Kem, Sha256], Field(min_length=1, max_length=2)]


class AttestationRequest(Message):
    """A site wants evidence that was made after it asked."""

    nonce: Nonce = Field(description="32 random bytes of the site's, in hex; used once.")


class Attestation(Message):
    """Evidence for one request. Whoever reads it makes the Statement anew of what it knows itself, and compares."""

    tee: Tee
    evidence: Inline = Field(description="As the guest's agent gave it.")
    update_keys: UpdateKeys = Field(
        description="SHA-256 of the public keys to which updates are encrypted, by kem; their private halves are in the "
        "aggregator's memory alone."
    )


class Statement(Message):
    """What evidence is bound to: its report data are the statement's digest."""

    purpose: Literal["fedloom attestation 1"] = "fedloom attestation 1"
    job_uid: Name
    nonce: Nonce
    tls_key: Sha256 = Field(
        description="Of the server's public key (SubjectPublicKeyInfo) on the connection that carries it."
    )
    update_keys: UpdateKeys

    def report_data(self) -> bytes:
        """64 bytes, as reports of SEV-SNP and TDX have: the SHA-256 of the canonical statement in hex, since agents take them as text."""
        return self.digest().encode()


class Verifier(Message):
    """Who appraises evidence, and by which key its verdicts are known."""

    url: str
    public_key: str = Field(description="PEM.")
    ca: str | None = Field(None, description="PEM: by which its server is verified, in place of the system's roots.")
    policies: tuple[str, ...] = ()


class Measurement(Message):
    """A claim of the appraised evidence, and what it may be."""

    claim: Annotated[str, Field(min_length=1)]
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class Demand(Message):
    """What a site demands of an aggregator."""

    tees: Annotated[tuple[Tee, ...], Field(min_length=1)]
    verifier: Verifier
    measurements: Annotated[tuple[Measurement, ...], Field(min_length=1)]
