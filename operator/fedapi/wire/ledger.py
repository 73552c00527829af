"""What records say of the job's ledger: how far it was, and where a repair put it aside."""

from pydantic import Field

from fedapi.wire.message import Message, Natural, Record, Sha256


class Anchor(Message):
    """A state of the job's ledger: how many entries it has, and the root of the tree over them."""

    size: Natural
    root: Sha256


class LedgerRestart(Record):
    """restart.json: that a repair found the job's ledger broken, and put it aside. Written by the repair."""

    number: int = Field(ge=1, description="Of these repairs.")
    reason: str = Field(description="What was broken.")
    size: Natural | None = Field(None, description="Entries that the last checkpoint had, as far as it can be read.")
    root: Sha256 | None = Field(None, description="The root that it had.")
    commit_sha256: Sha256 | None = Field(None, description="HEAD's commit then, which the next ledger goes on from.")
    at: float
