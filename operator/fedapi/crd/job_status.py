"""Status of a FederatedJob: every leaf has one writer, the operator, the job's aggregator or its backup.

Read and written as these models by all writers and by the embedded runner; printer columns are in manifest.py.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.crd.anomalies import AnomaliesStatus
from fedapi.crd.dpsgd import RecordPrivacyStatus
from fedapi.crd.fields import LIST_TYPE, Conditions, Decimal, Name, Sha256, Short, StatusPart, Text, listed_by
from fedapi.crd.ledger import LedgerStatus
from fedapi.crd.privacy import PrivacyStatus
from fedapi.crd.release import ReleaseStatus
from fedapi.wire.attestation import Tee

MAX_LISTED = 100  # entries of status.clients and status.sites
MAX_SELECTED = 1000  # entries of status.round.selected, and so sites in a round with training.lifetime Round
MAX_COUNTED_SITES = 1000  # entries of status.participation
# Leaves that the operator writes, as the API spells them; `backup` is the backup's, all others are the aggregator's.
OPERATOR_LEAVES = (
    "conditions", "phase", "observedGeneration", "startTime", "completionTime", "backupsSince", "children", "sites",
)  # fmt: skip


class Outcome(StatusPart):
    """That training finished, and how. Written by the aggregator."""

    result: Literal["Succeeded", "Failed"] = Field(description="How it ended.")
    reason: Short = Field(description="Enumerated reason, CamelCase.")
    message: Text = Field("", description="The same for a person.")
    time: str = Field(description="When it ended.", json_schema_extra={"format": "date-time"})


class RoundStatus(StatusPart):
    """The round under way. Written by the aggregator."""

    current: int = Field(description="Number of the round, from 1; 0 before the first.", ge=0)
    total: int = Field(description="Rounds asked for.", ge=0)
    attempt: int = Field(1, description="Attempt of this round, from 1.", ge=0)
    last_failure: Short = Field(
        "",
        description="Why the attempt before came to nothing: QuorumNotReached, PrivacyBudgetSpent (of sites), SecureAggregationFailed, UpdateDamaged "
        "and others; empty "
        "where none did.",
    )
    start_time: str | None = Field(None, description="When it was planned.", json_schema_extra={"format": "date-time"})
    deadline: str | None = Field(None, description="When it is closed.", json_schema_extra={"format": "date-time"})
    step: Literal["Train", "Evaluate"] | None = Field(
        None,
        description="What the selected sites are to do. Train: take part in the round. Evaluate: measure the last model "
        "and train nothing. Absent: nothing is planned.",
    )
    exchange: Literal["Advertise", "Share", "Mask", "Consent", "Open"] | None = Field(
        None,
        description="With privacy.secureAggregation or homomorphicEncryption, what the round waits for. Advertise: that sites train and name "
        "their keys. Share: that they share secrets, or one makes the key of all. Mask: masked, or encrypted, updates. Consent: that the "
        "sites agree on whose updates are summed. Open: what opens the sum.",
    )
    selected: Annotated[list[Name], Field(max_length=MAX_SELECTED, json_schema_extra={LIST_TYPE: "atomic"})] = Field(
        default_factory=list,
        description="Sites of this step: the first 100; with training.lifetime Round all of them, because their training "
        "Jobs are made from this list, and at most 1000 take part in a round.",
    )
    accepted: int = Field(0, description="Updates accepted in this round.", ge=0)
    committed: int = Field(0, description="Last committed round.", ge=0)
    progress: Short = Field("", description="Committed and total rounds, as in 7/20.")
    groups: Short | None = Field(
        None,
        description="With secureAggregation.groups, groups and sites that are in the last committed model, as in '3 of 9 sites'.",
    )


class Metric(StatusPart):
    """A metric of the last evaluated model, over all sites."""

    name: Short = Field(description="Name of the metric.")
    value: Decimal = Field(description="Mean over the sites weighted by their evaluation samples; a decimal string.")
    round: int = Field(description="Round of the model that was evaluated.", ge=0)


class HeldOutStatus(StatusPart):
    """What held-out sites measured of the newest model that any of them has evaluated."""

    round: int = Field(description="Round of that model.", ge=0)
    sites: Short = Field(description="How many held-out sites have evaluated it, of those there are, as in 2/3.")
    metrics: Annotated[list[Metric], Field(max_length=32, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Means over those sites, weighted by their samples."
    )


class EvaluationStatus(StatusPart):
    """What became of the value of spec.evaluation.request."""

    round: int = Field(description="Round that was asked for.", ge=0)
    id: Short = Field("", description="Its id, as it was asked for.")
    state: Literal["Running", "Done", "Incomplete", "Refused"] = Field(
        description="Running: sites are asked, or will be. Done: all have evaluated it. Incomplete: some failed, or `round.deadline` or the "
        "job was over first. Refused: nobody was asked, and the message says why."
    )
    sites: Short = Field("", description="How many sites have evaluated it, of those that were asked, as in 2/3.")
    missing: Annotated[list[Name], Field(max_length=MAX_LISTED, json_schema_extra={LIST_TYPE: "atomic"})] = Field(
        default_factory=list, description="The others (at most 100)."
    )
    metrics: Annotated[list[Metric], Field(max_length=32, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Means over those sites, weighted by their samples."
    )
    message: Text = Field("", description="Why it was refused, with the way out.")


class BestRound(StatusPart):
    """The best evaluated round by the headline metric."""

    round: int = Field(description="Its number.", ge=0)
    metric: Short = Field(description="Name of the metric.")
    value: Decimal = Field(description="Its value; a decimal string.")


class ClientStatus(StatusPart):
    """One site as the aggregator sees it."""

    name: Name = Field(description="Name of the FLClient.")
    state: Literal[
        "Waiting",
        "Training",
        "Accepted",
        "Failed",
        "Late",
        "Idle",
        "Incompatible",
        "HeldOut",
        "Suspended",
        "BudgetSpent",
    ] = Field(
        description="Waiting: not heard from yet (with training.lifetime Round: not since this round was planned). "
        "Training, Accepted, Failed, Late: in this round. Idle: not selected. "
        "Incompatible: its trainer does not fit the hub or the job, the message says why. "
        "HeldOut: it never trains, and evaluates committed models (spec.evaluation). "
        "Suspended: an update of it was anomalous (spec.anomalies); it is selected again once `anomalies.readmit` names it. "
        "BudgetSpent: its updates have spent `privacy.dpSGD.targetEpsilon`; it is selected no more."
    )
    last_round: int = Field(0, description="Last round with an accepted update.", ge=0)
    samples: int = Field(0, description="Training samples of its last accepted update.", ge=0)
    rounds: int = Field(0, description="Accepted updates in committed rounds.", ge=0)
    selected: int | None = Field(
        None,
        ge=0,
        description="Committed rounds that it was selected for.",
    )
    record_epsilon: Decimal | None = Field(
        None,
        description="With spec.privacy.dpSGD: the epsilon of one record of its data that its updates have spent, as it says it; "
        "rounded up, a decimal string.",
    )
    failures: int = Field(0, description="Failures and refusals, over all rounds.", ge=0)
    message: Text = Field(
        "", description="Reason of the last failure, or a warning, of samples that jumped for example."
    )


class SiteParticipation(StatusPart):
    """In how many committed rounds of this job a site took part: what the operator adds up in FLClients."""

    name: Name = Field(description="Name of the FLClient.")
    selected: int = Field(0, description="Committed rounds that it was selected for.", ge=0)
    accepted: int = Field(0, description="Of those, rounds that have its update.", ge=0)
    last_round: int = Field(0, description="The last of these.", ge=0)


class SiteStatus(StatusPart):
    """One site's training Job as the operator sees it."""

    name: Name = Field(description="Name of the FLClient.")
    job: Short = Field("", description="Name of the training Job.")
    workers: int = Field(1, description="Pods of the site's ring, as its pool asks for them.", ge=1)
    ready: int = Field(0, description="Pods ready.", ge=0)
    reason: Short = Field("", description="Enumerated reason when it is not running.")
    message: Text = Field("", description="The same for a person, with the way out.")


class InitialModelStatus(StatusPart):
    """The initial model, where the committed one is the tensors that travel alone."""

    uri: Text = Field(description="Where it is, as the committed model's.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")


class ModelStatus(StatusPart):
    """The committed model."""

    uri: Text = Field(
        description="Where it is: volume://<claim>/<key>, s3://<bucket>/<key>, gs://<bucket>/<key> or "
        "az://<account>/<container>/<key>."
    )
    sha256: Sha256 = Field(description="SHA-256 of the file.")
    round: int = Field(description="Round that made it; 0 is the initial model.", ge=0)
    initial: InitialModelStatus | None = Field(
        None, description="Where some tensors do not travel: the file with all of them, over which this model is whole."
    )


class RollbackStatus(StatusPart):
    """What became of a value of spec.rollbackTo."""

    round: int = Field(description="Round that was asked for.", ge=0)
    id: Short = Field("", description="Its id, as it was asked for.")
    result: Literal["Done", "Refused"] = Field(description="Done: training goes on from that round's model.")
    committed: int | None = Field(None, description="Number of the commit that has the older model.", ge=0)
    message: Text = Field("", description="The same for a person, with the way out.")


class BackupFailure(StatusPart):
    """The last failure of a step, until that step succeeds."""

    step: Literal["Create", "Verify"] = Field(description="What failed.")
    reason: Short = Field(description="Enumerated reason, CamelCase.")
    message: Text = Field("", description="The same for a person, with the way out.")
    time: str = Field(description="When it failed.", json_schema_extra={"format": "date-time"})


class BackupStatus(StatusPart):
    """The newest backup, and the newest one that was proved. Written by the backup."""

    last_time: str | None = Field(
        None, description="When the newest backup was whole.", json_schema_extra={"format": "date-time"}
    )
    object: Text | None = Field(None, description="Key of its manifest in the destination.")
    round: int | None = Field(None, description="Last committed round that it holds.", ge=0)
    bytes: int | None = Field(None, description="Bytes of the objects that it needs.", ge=0)
    previous_bytes: int | None = Field(None, description="The same of the backup before it.", ge=0)
    public_key: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="Ed25519 key whose signature it carries, in hexadecimal digits: spec.restoreFrom.publicKey of a job that "
        "goes on from it. Keep a copy outside this cluster.",
    )
    verified_time: str | None = Field(
        None,
        description="When a backup was last restored and found right.",
        json_schema_extra={"format": "date-time"},
    )
    verified_object: Text | None = Field(None, description="Key of that backup's manifest.")
    restore_seconds: Decimal | None = Field(None, description="Seconds that its restore took; a decimal string.")
    evidence: Text | None = Field(None, description="Key of the signed evidence of that verification.")
    failures: Annotated[list[BackupFailure], Field(max_length=2, json_schema_extra=listed_by("step"))] | None = Field(
        None, description="Steps whose last run failed."
    )


class Children(StatusPart):
    """Names of what the operator made."""

    aggregator: Short = Field("", description="Deployment, Service and ServiceAccount of the aggregator.")
    volume_claim: Short | None = Field(
        None, description="PersistentVolumeClaim of the store; absent: the store is a bucket."
    )
    backup: Short | None = Field(None, description="CronJob that makes backups.")
    verify: Short | None = Field(None, description="CronJob that verifies the newest backup.")
    backup_claim: Short | None = Field(None, description="PersistentVolumeClaim that holds the backups.")


Topic = Literal[
    "PublicAccess", "Residency", "Encryption", "Transport", "Access", "Versioning", "Retention", "Lifecycle", "Replication", "Logging"
]  # fmt: skip


class StorageFinding(StatusPart):
    """A requirement of the bucket that is not known to be met."""

    requirement: Short = Field(description="As the table of `fedloom storage check` names it.")
    topic: Topic = Field(description="What it is about.")
    state: Literal["Missing", "Cannot", "Unknown"] = Field(
        description="Missing: it is not set. Cannot: the store has no such thing. Unknown: the aggregator's credentials may not "
        "ask, or the store does not tell."
    )
    message: Text = Field("", description="What is set instead, or the store's own words.")


class StorageStatus(StatusPart):
    """The bucket's settings. Written by the aggregator."""

    checked_time: str = Field(description="When they were looked at.", json_schema_extra={"format": "date-time"})
    kept: int = Field(description="Requirements that are met.", ge=0)
    findings: Annotated[list[StorageFinding], Field(max_length=32, json_schema_extra=listed_by("requirement"))] = Field(
        default_factory=list, description="All others."
    )


class AttestationStatus(StatusPart):
    """Evidence of the aggregator's trusted execution environment. Written by the aggregator, which is no proof: sites ask."""

    tee: Tee = Field(description="Kind of environment.")
    evidence_sha256: Sha256 = Field(description="SHA-256 of the evidence that it got when it started.")
    update_keys: Annotated[dict[Short, Sha256], Field(max_length=2)] = Field(
        description="SHA-256 of the keys to which updates are encrypted, by kem; made anew with each start."
    )
    affirmed_by: Text | None = Field(
        None, description="URL of the job's verifier, which affirmed it. Absent: the job names none."
    )
    time: str = Field(description="When.", json_schema_extra={"format": "date-time"})


class FederatedJobStatus(StatusPart):
    """What happened. Every leaf has one writer: the operator, the job's aggregator or its backup."""

    # Operator.
    conditions: Conditions | None = Field(
        None,
        description="Accepted, AggregatorReady, QuorumReached, Progressing, Suspended, QueueAdmitted (where a queue "
        "admits training Jobs), RolledBack (with spec.rollbackTo), StorageReady and StorageSafe (with a bucket), SiteStateKept (where something stays at the sites), UpdatesSound (with spec.anomalies), QueuesReady (with spec.events), BackupHealthy (with spec.backup), Restored (with "
        "spec.restoreFrom), Complete, Failed.",
    )
    phase: Short | None = Field(None, description="One word for the eye; nothing reads it back.")
    observed_generation: int | None = Field(None, ge=0, description="metadata.generation that the conditions describe.")
    start_time: str | None = Field(
        None, description="When the job was first acted on.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(None, description="When it ended.", json_schema_extra={"format": "date-time"})
    backups_since: str | None = Field(
        None,
        description="Since when backups are asked for without a break: spec.backup was added, or last let go on. Absent while "
        "they, or the job, are suspended.",
        json_schema_extra={"format": "date-time"},
    )
    children: Children | None = Field(None, description="Names of what the operator made.")
    sites: Annotated[list[SiteStatus], Field(max_length=MAX_LISTED, json_schema_extra=listed_by("name"))] | None = (
        Field(None, description="Training Jobs, those with trouble first (at most 100).")
    )
    # Aggregator.
    outcome: Outcome | None = Field(None, description="That training finished, and how.")
    round: RoundStatus | None = Field(None, description="The round under way.")
    participants: Short | None = Field(None, description="Updates accepted of sites selected in this round, as in 4/4.")
    headline_metric: Short | None = Field(
        None, description="As in `accuracy 0.79`: the metric `stop.metric`, else accuracy, else the first by name."
    )
    metrics: Annotated[list[Metric], Field(max_length=32, json_schema_extra=listed_by("name"))] | None = Field(
        None, description="Metrics of the last evaluated model."
    )
    held_out: HeldOutStatus | None = Field(
        None, description="Metrics of the sites that spec.evaluation holds out of training."
    )
    evaluation: EvaluationStatus | None = Field(
        None, description="What became of the value of spec.evaluation.request."
    )
    best_round: BestRound | None = Field(None, description="The best evaluated round.")
    goodput: Decimal | None = Field(
        None,
        description="Share of the seconds that selected sites have trained whose updates are in committed rounds, as far as "
        "the aggregator knows of the others; a decimal string. Absent before a site has trained.",
    )
    clients: Annotated[list[ClientStatus], Field(max_length=MAX_LISTED, json_schema_extra=listed_by("name"))] | None = (
        Field(None, description="Sites, failing first (at most 100).")
    )
    participation: (
        Annotated[list[SiteParticipation], Field(max_length=MAX_COUNTED_SITES, json_schema_extra={LIST_TYPE: "atomic"})]
        | None
    ) = Field(
        None,
        description="How often sites took part, those that were selected last first (at most 1000).",
    )
    anomalies: AnomaliesStatus | None = Field(
        None, description="Anomalous updates, where spec.anomalies looks for them."
    )
    model: ModelStatus | None = Field(None, description="The last committed model.")
    privacy: PrivacyStatus | None = Field(
        None, description="What the committed models tell of one site at most, with spec.privacy.differentialPrivacy."
    )
    record_privacy: RecordPrivacyStatus | None = Field(
        None, description="What a site's updates tell of one record of its data at most, with spec.privacy.dpSGD."
    )
    rollback: RollbackStatus | None = Field(
        None, description="What became of the value of spec.rollbackTo that was decided last."
    )
    trouble: Text | None = Field(
        None,
        description="What holds the aggregator up while it does: its store cannot be written, a full volume for example.",
    )
    queue_trouble: Text | None = Field(
        None, description="What is wrong with the queues of spec.events; rounds go on over HTTPS."
    )
    storage: StorageStatus | None = Field(None, description="What the bucket's settings lack, looked at once a day.")
    ledger: LedgerStatus | None = Field(None, description="The ledger of what happened, as far as it is durable.")
    release: ReleaseStatus | None = Field(None, description="With spec.release: decisions that the ledger tells.")
    attestation: AttestationStatus | None = Field(
        None, description="With aggregator.confidential: the evidence that the aggregator has of where it runs."
    )
    # Backup.
    backup: BackupStatus | None = Field(None, description="The newest backup, and the newest one that was proved.")
