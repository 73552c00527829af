"""What status says of a job's backups: facts of the last step, merged with those of the other. Pure.

Leaves are those of fedapi.crd.job_status.BackupStatus; two processes write them, one after the other.
"""

from datetime import UTC, datetime
from typing import Literal

from fedapi.crd.job_status import BackupFailure, BackupStatus
from fedapi.jsonvalue import Json, JsonView
from fedbackup.create import Made
from fedbackup.errors import BackupError
from fedbackup.verify import Proof

Step = Literal["Create", "Verify"]
LONGEST = 1024  # of a text in status


def time_of(at: float) -> str:
    """As the API has times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def created(before: JsonView, made: Made) -> Json:
    """After a backup."""
    body, old = made.manifest, before.get("bytes")
    facts = BackupStatus(
        last_time=time_of(body.created_at),
        object=made.found.key,
        round=body.round,
        bytes=body.bytes,
        previous_bytes=old if isinstance(old, int) else None,
        public_key=body.public_key,
    ).dump()
    merged = _without(before, "Create") | facts
    return failed(merged, "Create", made.trouble, body.created_at) if made.trouble else merged


def verified(before: JsonView, proof: Proof) -> Json:
    """After a verification that found the backup right."""
    found = proof.evidence
    facts = BackupStatus(
        verified_time=time_of(found.at),
        verified_object=found.backup,
        restore_seconds=f"{found.restore_seconds:.3f}",
        evidence=proof.key,
    ).dump()
    return _without(before, "Verify") | facts


def failed(before: JsonView, step: Step, error: BackupError, now: float, evidence: str = "") -> Json:
    """After a step that failed: what was true before stays true."""
    message = str(error)
    if evidence:
        message = f"{message[: LONGEST - len(evidence) - 12]} (evidence {evidence})"
    entry = BackupFailure(step=step, reason=str(error.reason), message=message[:LONGEST], time=time_of(now)).dump()
    merged = _without(before, step)
    return {**merged, "failures": [*merged.get("failures", ()), entry]}


def _without(before: JsonView, step: Step) -> Json:
    kept = [entry for entry in before.get("failures") or () if entry.get("step") != step]
    rest = {name: value for name, value in before.items() if name != "failures"}
    return {**rest, "failures": kept} if kept else rest
