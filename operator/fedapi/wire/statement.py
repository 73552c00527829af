"""What a site signs: a statement that names the purpose, the place and the body of a message, as canonical JSON. Pure.

The statement has what commits keep of an update (digests of its payloads, samples, steps) and the SHA-256 of the body that was sent,
so that it can be made again of either. Purposes separate the domains: a signature over one kind of message is none over another.
"""

import hashlib
import json

import rfc8785

from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.message import Message, number
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.signature import Signed
from fedapi.wire.site import EvaluationReport, FailureReport
from fedapi.wire.update import UpdateEnvelope, UpdateManifest

UPDATE, EVALUATION, FAILURE, SECURE = (
    f"fedloom.dev/signed-{kind}/v1" for kind in ("update", "evaluation", "failure", "secure-aggregation")
)
_BESIDE = {"signature": None, "key_id": None, "checksum": None}  # what lies beside the body of a report


def of_update(manifest: UpdateManifest, body_sha256: str | None = None) -> bytes:
    """That of an update. `body_sha256`: of the body as it was written, where this version may not know all of it."""
    payloads = {name: payload.object.sha256 for name, payload in manifest.payloads.items()}
    place = _place(UPDATE, manifest.job_uid, manifest.client, manifest.round, manifest.attempt)
    return _update(place, body_sha256 or manifest.digest(), payloads, manifest.samples, manifest.steps)


def of_participant(commit: CommitRecord, participant: Participant, signed: Signed, job_uid: str | None = None) -> bytes:
    """The same, of what a commit keeps of it. `job_uid`: of the job that it was sent to, where that was another before a restore."""
    order = participant.order or commit
    place = _place(UPDATE, job_uid or commit.job_uid, participant.client, order.round, order.attempt)
    return _update(place, signed.body_sha256, participant.payloads, participant.samples, participant.steps)


def of_report(report: EvaluationReport | FailureReport) -> bytes:
    """That of an evaluation, which belongs to no attempt, or of a failure."""
    bare: Message = report.model_copy(update={name: None for name in _BESIDE if name in type(report).model_fields})
    if isinstance(report, FailureReport):
        place = _place(FAILURE, report.job_uid, report.client, report.round, report.attempt)
    else:
        place = _place(EVALUATION, report.job_uid, report.client, report.round, 0)
    return rfc8785.dumps(place | {"body_sha256": bare.digest()})


def of_secure(job_uid: str, client: str, said: SecureSaid) -> bytes:
    """That of what a site says in an exchange of secure aggregation."""
    bare = said.model_copy(update={"signature": None, "key_id": None})
    return rfc8785.dumps(_place(SECURE, job_uid, client, said.round, said.attempt) | {"body_sha256": bare.digest()})


def shown(message: UpdateEnvelope | EvaluationReport | FailureReport | SecureSaid) -> tuple[str | None, str | None]:
    """Key id and signature that lie beside what is signed."""
    return message.key_id, message.signature


def signed(envelope: UpdateEnvelope, body_sha256: str | None = None) -> Signed | None:
    """What a commit keeps of an update's signature. `body_sha256`: as above."""
    if envelope.key_id is None or envelope.signature is None:
        return None
    digest = body_sha256 or envelope.body.digest()
    return Signed(key_id=envelope.key_id, signature=envelope.signature, body_sha256=digest)


def stored_body_sha256(envelope: bytes) -> str | None:
    """Of the body of a stored envelope, all of it, whatever this version knows of it; None: of version 0.1."""
    body = json.loads(envelope, parse_int=number).get("body")
    return None if body is None else hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def _place(purpose: str, job_uid: str, client: str, round_: int, attempt: int) -> dict[str, str | int]:
    return {"purpose": purpose, "job_uid": job_uid, "client": client, "round": round_, "attempt": attempt}


def _update(
    place: dict[str, str | int], body_sha256: str, payloads: dict[str, str], samples: int, steps: int | None
) -> bytes:
    counted = {"samples": samples} | ({} if steps is None else {"steps": steps})
    return rfc8785.dumps({**place, **counted, "body_sha256": body_sha256, "payloads": payloads})
