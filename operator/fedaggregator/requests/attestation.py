"""Evidence that this aggregator runs where its job says: for itself before it serves, and for each site that asks.

Evidence is made anew for each nonce, one at a time: the guest's firmware is slow. It is bound to the keys that it vouches for:
that of the server's certificate, and those to which updates are encrypted, whose private halves leave this process never.
Loaded where a job asks for a trusted execution environment alone.
"""

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedaggregator.adapters import verifier as verifiers
from fedaggregator.adapters.guestagent import GuestAgent
from fedaggregator.errors import EvidenceUnavailableError, FatalError, RequestRefusedError
from fedaggregator.timetext import time_text
from fedapi.crd.job_status import AttestationStatus
from fedapi.outcome import Exit
from fedapi.wire import appraisal
from fedapi.wire.appraisal import NotAttestedError
from fedapi.wire.attestation import Attestation, AttestationRequest, Statement, Tee, UpdateKeys, Verifier
from fedapi.wire.encryption import HubKey, UnavailableKemError
from fedapi.wire.site import Refusal


def update_keys(hub_key: bytes) -> UpdateKeys:
    """SHA-256 of the public keys that derive from it."""
    found: UpdateKeys = {}
    for kem in ("X25519", "MLKEM768X25519"):
        try:
            found[kem] = hashlib.sha256(HubKey(hub_key).recipient(kem).public_key).hexdigest()
        except UnavailableKemError:
            continue
    return found


def tls_key(certificate: Path) -> str:
    """SHA-256 of the public key in the first certificate of a PEM file."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@dataclass(frozen=True)
class Vouched:
    """What evidence is for."""

    job_uid: str
    tee: Tee
    certificate: Path  # read anew each time, as the server does: it is renewed
    update_keys: UpdateKeys

    def statement(self, nonce: str) -> Statement:
        """What evidence for that nonce is bound to."""
        return Statement(
            job_uid=self.job_uid, nonce=nonce, tls_key=tls_key(self.certificate), update_keys=self.update_keys
        )


class Attestations:
    """Of one process."""

    def __init__(self, vouched: Vouched, agent: GuestAgent) -> None:
        self._vouched, self._agent = vouched, agent
        self._turn = asyncio.Lock()

    async def first(self, verifier: Verifier | None) -> AttestationStatus:
        """Before sites may come. FatalError unless there is evidence, and the verifier, where the job names one, affirms it."""
        statement = self._vouched.statement(os.urandom(32).hex())
        try:
            made = await self._made(statement)
            if verifier is not None:
                answer = await asyncio.to_thread(
                    verifiers.verdict, verifier, appraisal.question(made, statement, verifier)
                )
                claims = appraisal.appraised(answer, statement, verifier, time.time())
                appraisal.check_tee(made.tee, claims, (made.tee,))
        except (EvidenceUnavailableError, NotAttestedError) as error:
            raise FatalError(Exit.NOT_ATTESTED, f"aggregator.confidential {self._vouched.tee}: {error}") from error
        return AttestationStatus(
            tee=made.tee,
            evidence_sha256=hashlib.sha256(made.evidence).hexdigest(),
            update_keys=dict(self._vouched.update_keys),
            affirmed_by=verifier.url if verifier else None,
            time=time_text(time.time()),
        )

    async def attest(self, asked: AttestationRequest) -> Attestation:
        """Evidence for a site's nonce; RequestRefusedError: there is none now."""
        try:
            return await self._made(self._vouched.statement(asked.nonce))
        except EvidenceUnavailableError as error:
            raise RequestRefusedError(Refusal(code="Busy", message=str(error)[:1000])) from error

    async def _made(self, statement: Statement) -> Attestation:
        async with self._turn:
            evidence = await asyncio.to_thread(self._agent.evidence, statement.report_data())
        return Attestation(tee=self._vouched.tee, evidence=evidence, update_keys=self._vouched.update_keys)
