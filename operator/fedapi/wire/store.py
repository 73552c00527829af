"""The store's records, but for those in commit.py, plan.py and ledger.py (design: "Store layout and commit rule"). Pure values.

Written by the aggregator, read by it on recovery, by the embedded runner and by `fedloom model`.
Every object but HEAD is write-once; HEAD is replaced by compare-and-swap only. Records are sealed when they are
written. Where they are is in layout.py beside this module.
"""

from typing import Literal

from pydantic import Field

from fedapi.wire.anomalies import Anomaly
from fedapi.wire.commit import Buffered
from fedapi.wire.message import Record, Sha256
from fedapi.wire.metrics import Metrics
from fedapi.wire.privacy import ChargedFailure, SiteNoise
from fedapi.wire.signature import SignatureText


class Head(Record):
    """The only mutable object: which commit is the newest, and whose epoch may move it."""

    epoch: int = Field(ge=1, description="Grows by one whenever an aggregator starts; an older one cannot commit.")
    round: int = Field(ge=-1, description="Last committed round; -1 before the initial model.")
    commit_key: str | None = None
    commit_sha256: Sha256 | None = None
    commit_signature: SignatureText | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Over that commit (wire.signedcommit), by the key of the job's ledger. Absent where an older version, or a repair, set HEAD.",
    )
    finished: Literal["Succeeded", "Failed"] | None = None
    reason: str = ""
    message: str = ""
    finished_at: float | None = None
    lineage: tuple[str, ...] = Field(
        (),
        description="Uids of the jobs whose commits this one goes on from since a restore, oldest first.",
        exclude_if=lambda value: not value,  # HEAD of a job that was never restored stays what it was
    )

    def uids(self, own: str) -> frozenset[str]:
        """Uids that records of this store may say."""
        return frozenset((own, *self.lineage))


class RestoreRecord(Record):
    """restored.json: that this job's history was put here from a backup. Written before its HEAD."""

    backup: str = Field(description="Key of the backup's manifest.")
    manifest_sha256: Sha256
    lineage: tuple[str, ...]
    round: int = Field(ge=0)
    at: float


class EvaluationRecord(Record):
    """evaluation.json: metrics of the model of `round`, as far as sites reported them when it was closed."""

    job_uid: str
    round: int = Field(ge=0)
    model_sha256: Sha256
    metrics: Metrics
    samples: int
    clients: dict[str, Metrics] = {}
    client_samples: dict[str, int] = {}
    held_out_missing: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Held-out sites that were to evaluate this model and had not when the round after it was committed. "
        "One that does so later has a record of its own all the same.",
    )


class FailureRecord(Record):
    """failure.json of an attempt that ended without a commit."""

    job_uid: str
    round: int
    attempt: int
    reason: str
    message: str
    at: float
    missed: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="Selected sites that had no update in it."
    )
    open_s: float = Field(0.0, ge=0, exclude_if=lambda value: not value, description="Seconds since its plan.")
    lost_s: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda value: not value,
        description="Seconds of training, as far as the hub knows of them.",
    )
    dropped: tuple[Buffered, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="In asynchronous rounds: accepted updates that count no more, because no model came of them.",
    )
    anomalies: tuple[Anomaly, ...] = Field(
        (), exclude_if=lambda value: not value, description="Anomalous updates of it."
    )
    privacy: ChargedFailure = None
    site_noise: SiteNoise | None = Field(
        None, exclude_if=lambda value: value is None, description="Of its plan: sites may have sent updates with it."
    )
    maker: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The site that was to make the key of its encrypted sum: the next attempt asks another.",
    )


class CloseRecord(Record):
    """close.json of an attempt that closed without an update of every selected site, or for which one trained in vain.

    Only `accepted` is folded. Durable before the fold, so that an update which arrives while a restarted aggregator recovers changes nothing.
    """

    job_uid: str
    round: int
    attempt: int
    accepted: tuple[str, ...]
    reason: str
    at: float
    lost_s: float = Field(
        0.0, ge=0, exclude_if=lambda value: not value, description="Seconds trained in vain in this attempt, as above."
    )
    buffer: tuple[Buffered, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="In asynchronous rounds: the accepted updates, in the order in which they are folded.",
    )
