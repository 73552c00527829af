"""`spec.release` of a FederatedJob: who has to approve the final model before it is handed out.

Used by federatedjob.py, the operator and the command line. What is signed, and what counts, is in fedapi.wire.release.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Part, StatusPart, immutable, listed_by, rule, rules

SAME = rule(
    "has(self.release) == has(oldSelf.release)",
    "release cannot be added or removed after creation: delete the job and create it anew",
    ".release",
)
_Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
_Digest = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")]
_Number = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Approver(Part):
    """Somebody who may approve the model."""

    name: _Name = Field(description="By which an approval and the status call the approver.")
    public_key: Annotated[str, Field(max_length=44, pattern=r"^[A-Za-z0-9+/]{43}=$")] = Field(
        description="Ed25519 public key, 32 bytes in base64, as `fedloom model approver` prints it."
    )


class Approval(Part):
    """What an approver has signed. It counts where the signature is right, whoever has put it here."""

    approver: _Name = Field(description="Name of the approver.")
    decision: Literal["Approve", "Reject"] = Field(description="One rejection keeps the model back.")
    model_sha256: _Digest = Field(alias="modelSHA256", description="SHA-256 of the model.")
    card_sha256: _Digest = Field(alias="cardSHA256", description="SHA-256 of the model card (JSON) that was approved.")
    signature: Annotated[str, Field(max_length=88, pattern=r"^[A-Za-z0-9+/]{86}==$")] = Field(
        description="Ed25519, 64 bytes in base64."
    )
    number: _Number | None = Field(
        None,
        description="Greater than that of each decision of the approver before, as `fedloom model approve` chooses it: an older one does not "
        "count once the ledger tells a newer one. Absent: 0.",
    )


class RecordedDecision(StatusPart):
    """A decision that the job's ledger tells."""

    approver: _Name = Field(description="Name of the approver.")
    decision: Literal["Approve", "Reject"] = Field(description="As in spec.release.approvals.")
    signature: Annotated[str, Field(max_length=88)] = Field(description="That of the approval, by which it is known.")
    number: _Number | None = Field(None, description="As in spec.release.approvals.")


class ReleaseStatus(StatusPart):
    """What of `spec.release.approvals` the job's ledger tells. Written by the aggregator."""

    recorded: Annotated[list[RecordedDecision], Field(max_length=16, json_schema_extra=listed_by("approver"))] = Field(
        description="The last decision of each approver that the ledger tells: the model is released by no others."
    )


class Release(Part):
    """The final model is handed out by `fedloom model pull` only after signed approvals."""

    approvers: Annotated[
        list[Approver],
        Field(min_length=1, max_length=16, json_schema_extra=listed_by("name") | immutable("release.approvers")),
    ] = Field(description="Who may approve.")
    required: int = Field(
        1,
        ge=1,
        le=16,
        description="Approvals of one model and card that are needed.",
        json_schema_extra=immutable("release.required"),
    )
    approvals: Annotated[list[Approval], Field(max_length=16, json_schema_extra=listed_by("approver"))] = Field(
        default_factory=list, description="As `fedloom model approve` and `fedloom model reject` put them here."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.required <= size(self.approvers)",
                "release.required is more than there are approvers, so that nothing would ever be released: lower it, or "
                "name more",
                ".required",
            ),
            rule(
                "self.approvers.all(a, self.approvers.exists_one(b, b.publicKey == a.publicKey))",
                "release.approvers has one publicKey twice, so that one signature would be two approvals: give each approver a "
                "key of their own, by `fedloom model approver`",
                ".approvers",
            ),
        )
    )
