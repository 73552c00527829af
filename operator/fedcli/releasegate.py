"""Whether a job's model may be handed out: the gate of `spec.release`, before any of its bytes is asked for.

Used by modelreader.py, bucketreader.py and commands.py. It holds for who uses these commands; who may read the bucket or the volume
himself needs none of them (docs/release.md says so).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedapi import released
from fedapi.crd.release import Release, ReleaseStatus
from fedapi.jsonvalue import Json
from fedapi.wire import release
from fedapi.wire.message import ObjectRef
from fedcli.errors import CommandError

CARD = "model-card.json"  # name of the record that is approved
LOCAL_APPROVALS = "approvals.json"  # in the folder of a local run's job, whose manifest is the user's own file


@dataclass(frozen=True)
class Gate:
    """Of one job."""

    name: str
    uid: str
    asked: Release
    recorded: ReleaseStatus | None = None  # decisions that the ledger tells, as the status of a job on a cluster says
    is_local: bool = False  # its approvals were told before they were put beside it

    def check(self, model: ObjectRef, card: bytes | None) -> None:
        """CommandError unless this model was approved, with the card as it is in the store."""
        said = self.verdict(model.sha256)
        way_out = f"see `fedloom model card {self.name}`, and `fedloom model approve`"
        if said.state != "Approved":
            notes = "".join(f"; {each}" for each in said.notes)
            raise CommandError(
                f"{self.name}: model {model.sha256} is not released (spec.release): {said.message}{notes}: {way_out}"
            )
        if not self.is_local and (untold := released.unrecorded(said, self.recorded)):
            raise CommandError(
                f"{self.name}: model {model.sha256} is not released yet: the ledger does not tell what {', '.join(untold)} decided: "
                "the operator brings the aggregator back for that, wait for the condition Released"
            )
        if rejected := released.withheld(said, self.recorded):
            raise CommandError(
                f"{self.name}: model {model.sha256} is not released: the ledger tells that {', '.join(rejected)} rejected it, and "
                f"spec.release.approvals lacks the decision: {way_out}"
            )
        if card is None or card_digest(card, self.uid, model.sha256) not in said.cards:
            raise CommandError(
                f"{self.name}: the model card in the store is not the one that was approved with model {model.sha256}: {way_out}"
            )

    def verdict(self, model_sha256: str) -> release.Verdict:
        """What the approvals say."""
        return released.verdict(self.asked, self.uid, model_sha256, self.recorded)

    @property
    def approvers(self) -> list[release.Approver]:
        """Who may approve."""
        return released.approvers(self.asked)


def of_job(job: Json, beside: Path | None = None) -> Gate | None:
    """The gate of a FederatedJob; None: nobody has to approve. `beside`: the folder of a local run, with its approvals."""
    asked = (job.get("spec") or {}).get("release")
    if not asked:
        return None
    file = beside / LOCAL_APPROVALS if beside else None
    metadata = job["metadata"]
    try:
        approvals = json.loads(file.read_text()) if file and file.exists() else asked.get("approvals") or []
        said = Release.model_validate({**asked, "approvals": approvals})
        recorded = (job.get("status") or {}).get("release")
        told = ReleaseStatus.model_validate(recorded) if recorded else None
    except (OSError, ValueError) as error:  # pydantic's is one
        where = file or f"{metadata['name']}: spec.release"
        raise CommandError(f"{where}: it holds no approvals: mend it, or delete it and approve anew") from error
    return Gate(metadata["name"], metadata["uid"], said, told, is_local=beside is not None)


def card_digest(card: bytes, uid: str, model_sha256: str) -> str:
    """SHA-256 of a card's bytes. CommandError where it is of another job or model, or of one that goes on."""
    try:
        said = json.loads(card)
    except ValueError as error:
        raise CommandError(
            f"the model card is damaged ({error}): the aggregator writes it anew when it starts"
        ) from error
    about: Mapping[str, str] = said if isinstance(said, dict) else {}
    if (about.get("uid"), about.get("model_sha256")) != (uid, model_sha256) or not about.get("result"):
        raise CommandError(f"the model card in the store is not of the finished job {uid} and its model {model_sha256}")
    return hashlib.sha256(card).hexdigest()
