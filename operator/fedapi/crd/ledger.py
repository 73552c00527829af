"""status.ledger: how far the job's ledger is, and whose signature its checkpoints carry."""

from typing import Annotated

from pydantic import Field

from fedapi.crd.fields import Sha256, StatusPart
from fedapi.jsonvalue import JsonView


class LedgerStatus(StatusPart):
    """The ledger as the store has it. Written by the aggregator, and compared with when an aggregator starts."""

    size: int = Field(description="Entries that its newest checkpoint has.", ge=0)
    root: Sha256 = Field(description="Root of the Merkle tree over them (RFC 6962), in hexadecimal digits.")
    public_key: Annotated[str, Field(max_length=512)] = Field(
        description="Ed25519 key that signs its checkpoints, as C2SP signed notes have it (NAME+ID+BASE64): what `fedloom ledger "
        "verify --public-key` takes. Keep a copy outside this cluster."
    )
    restarts: int | None = Field(
        None,
        ge=1,
        description="How often a repair found it broken and had another one begun, whose origin ends in the number of it. Absent: never.",
    )


def public_key(status: JsonView) -> str:
    """Of a job's status: that of its ledger; empty where it says none."""
    ledger = status.get("ledger")
    return str(ledger.get("publicKey") or "") if isinstance(ledger, dict) else ""
