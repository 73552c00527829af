"""Every enumerated word that users meet: condition types, reasons, phases, event reasons, each with its meaning.

Read by the policies beside this module, the embedded runner and the documentation, which lists them from here.
Reasons of exit codes are in fedapi.outcome; an outcome's reason is the aggregator's.
"""

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A string with its meaning as docstring."""

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """The member for `value`; `meaning` becomes its `__doc__`."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.__doc__ = meaning
        return member


class ConditionType(Word):
    """Types of the conditions in `.status.conditions`."""

    ACCEPTED = "Accepted", "The spec can be acted on."
    AGGREGATOR_READY = "AggregatorReady", "The aggregator answers."
    QUORUM_REACHED = "QuorumReached", "The newest closed round got the updates that it needs."
    PROGRESSING = "Progressing", "Training goes on, or will without anybody's help."
    SUSPENDED = "Suspended", "All pods are freed because spec.suspend asks for it."
    QUEUE_ADMITTED = "QueueAdmitted", "Absent, or whether the queue has admitted all training Jobs that are its own."
    ROLLED_BACK = "RolledBack", "Absent, or whether the last value of spec.rollbackTo was done."
    COMPLETE = "Complete", "Training ended well."
    FAILED = "Failed", "Training ended badly."
    STORAGE_READY = "StorageReady", "Absent with a volume, else whether the aggregator can use the bucket."
    STORAGE_SAFE = (
        "StorageSafe",
        "Absent with a volume, else whether the bucket is set up as `fedloom storage check` asks.",
    )
    SITE_STATE_KEPT = (
        "SiteStateKept",
        "Absent where nothing stays at the sites by the spec, else whether it outlives their pods.",
    )
    UPDATES_SOUND = (
        "UpdatesSound",
        "Absent without spec.anomalies, else whether the newest updates are not anomalous, and no site is suspended.",
    )
    QUEUES_READY = "QueuesReady", "Absent without events, else whether the aggregator can use the job's queues."
    RESTORED = "Restored", "Absent without restoreFrom, else whether the store holds the backup that it names."
    BACKUP_HEALTHY = "BackupHealthy", "Absent without backup, else whether the newest backups were made and restored."
    RELEASED = "Released", "Absent without spec.release, else whether the final model was approved."
    OBJECTS_APPLIED = "ObjectsApplied", "Absent, or False when an object that the job needs cannot be written."


class ClientCondition(Word):
    """Types of the conditions of an FLClient."""

    READY = "Ready", "The site can take part in rounds."
    CONNECTED = "Connected", "The site was heard from within 5 minutes."
    DATA_AVAILABLE = "DataAvailable", "The newest training pod found the site's data."


class Phase(Word):
    """The one word for the eye; nothing reads it back."""

    PENDING = "Pending", "Not accepted yet, or the aggregator's pod does not run."
    INITIALIZING = "Initializing", "The initial model is being made, or a backup is put into the store."
    WAITING = "Waiting", "The aggregator waits for sites before the first round."
    RUNNING = "Running", "Rounds are under way."
    SUSPENDED = "Suspended", "spec.suspend is true."
    COMPLETE = "Complete", "Training ended well."
    FAILED = "Failed", "Training ended badly."


class Reason(Word):
    """Reasons of conditions and of `.status.sites[]`."""

    # ObjectsApplied.
    OBJECT_REFUSED = "ObjectRefused", "The API server refused a child; the message has the object and its words."
    FOREIGN_OBJECT = "ForeignObject", "An object that the job did not make has the name of a child; it is left alone."

    # Accepted.
    ACCEPTED = "Accepted", "The spec is valid and selects at least one site."
    INVALID_SPEC = "InvalidSpec", "The spec cannot be read by this version of the operator."
    NO_MATCHING_SITES = "NoMatchingSites", "No FLClient of the namespace has the labels that the selector asks for."
    TOO_MANY_SITES = "TooManySites", "The selector matches more than the 10,000 sites that one job can have."
    TOO_MANY_STRATA = "TooManyStrata", "clients.stratified tells more than 100 strata of sites apart."
    # AggregatorReady.
    READY = "Ready", "Ready."
    STARTING = "Starting", "Pods are being made or are not ready yet."
    FINISHED = "Finished", "The job has ended."
    # QuorumReached.
    NO_ROUND_YET = "NoRoundYet", "No round has been closed yet."
    QUORUM_REACHED = "QuorumReached", "The last round was committed."
    QUORUM_MISSED = (
        "QuorumMissed",
        "Quorum was missed at the deadline, or out of reach before it; the round is planned afresh.",
    )
    ATTEMPT_FAILED = (
        "AttemptFailed",
        "The last attempt came to nothing, and not for want of a quorum (SecureAggregationFailed, for example); it is planned afresh.",
    )
    # Progressing.
    INITIALIZING = "Initializing", "The initial model is being made."
    WAITING_FOR_SITES = "WaitingForSites", "Fewer sites than minAvailable are connected."
    TOO_FEW_SITES = (
        "TooFewSites",
        "Fewer sites can take part than minAvailable or a quorum that is a count asks for, or none in mid-job.",
    )
    STORE_FAILING = "StoreFailing", "The aggregator cannot write its store, a full volume for example; it tries again."
    STORE_LOST = "StoreLost", "The volume claim with the job's models is gone or was replaced by an empty one."
    TRAINING = "Training", "Rounds are under way."
    KEYS_REPLACED = "KeysReplaced", "The operator's keys were lost and made anew; pods are started again with new ones."
    NOT_ACCEPTED = "NotAccepted", "The job is not accepted; see the Accepted condition."
    # StorageReady; its other reasons are Ready, Starting, Finished, StoreFailing, and those of exit codes.
    CREDENTIALS_MISSING = "CredentialsMissing", "The Secret with the store's credentials is missing."
    # SiteStateKept; its other reason is Finished.
    SITE_STATE_KEPT = "SiteStateKept", "What stays at the sites is on a volume, or is entrusted to the hub."
    SITE_STATE_AT_RISK = "SiteStateAtRisk", "Sites without spec.state lose with their pod what the job needs at them."
    # UpdatesSound; its other reasons are NoRoundYet and Finished.
    ROUNDS_NOT_UNDONE = (
        "RoundsNotUndone",
        "Rounds were to be undone because of an anomaly, and why that could not be.",
    )
    NO_ANOMALIES = "NoAnomalies", "No update of the newest round is anomalous, and no site is suspended."
    ANOMALOUS_UPDATES = (
        "AnomalousUpdates",
        "An update of the newest round is anomalous; the message says whose and why.",
    )
    SITES_SUSPENDED = (
        "SitesSuspended",
        "Sites are suspended because of anomalous updates, until somebody readmits them.",
    )
    # StorageSafe; its other reason is Finished. Of several that are missing the first of these is told.
    PUBLIC_ACCESS_ALLOWED = "PublicAccessAllowed", "The bucket does not keep the public out."
    OUTSIDE_RESIDENCY = "OutsideResidency", "The bucket is in none of the regions of storage.residency."
    ENCRYPTION_MISSING = (
        "EncryptionMissing",
        "The bucket does not encrypt as asked by default, or takes other encryption.",
    )
    PLAINTEXT_ALLOWED = "PlaintextAllowed", "The bucket answers requests without TLS."
    ACCESS_NOT_RESTRICTED = (
        "AccessNotRestricted",
        "The bucket's policy does not say who may do what, or is not enforced.",
    )
    VERSIONING_MISSING = "VersioningMissing", "What is deleted or replaced in the bucket cannot be brought back."
    RETENTION_MISSING = "RetentionMissing", "The bucket does not keep what it holds for the time that is asked for."
    LIFECYCLE_MISSING = "LifecycleMissing", "A rule of the bucket's lifecycle is missing."
    REPLICATION_MISSING = "ReplicationMissing", "The bucket is not replicated as asked."
    LOGGING_MISSING = "LoggingMissing", "Nobody can see later who read what."
    SETTINGS_UNREADABLE = (
        "SettingsUnreadable",
        "Nothing is known to be missing, and the aggregator's credentials may not read all settings of the bucket.",
    )
    SETTINGS_UNSUPPORTED = "SettingsUnsupported", "Nothing else is missing, and the store does not have all settings."
    NOT_CHECKED_YET = "NotCheckedYet", "The aggregator has not looked at the bucket's settings yet."
    CHECK_OVERDUE = "CheckOverdue", "The aggregator has not looked at the bucket's settings for two days."
    SAFE = "Safe", "The bucket is set up as `fedloom storage check` asks."
    # QueuesReady; its other reasons are Ready, Starting and Finished.
    QUEUES_FAILING = (
        "QueuesFailing",
        "The broker does not answer the aggregator, or refuses it; rounds go on over HTTPS.",
    )
    # Restored.
    RESTORING = "Restoring", "A Job puts the backup into the store; the aggregator starts when that is done."
    RESTORED = "Restored", "The store holds what was in the backup."
    RESTORE_FAILED = "RestoreFailed", "The restore Job failed and left no pod that tells why."
    # Released; NotFinished, too.
    APPROVED = "Approved", "As many approvers as spec.release asks for have signed for the final model."
    WAITING_FOR_APPROVAL = "WaitingForApproval", "The final model is there, and approvals of it are missing."
    RECORDING_RELEASE = "RecordingRelease", "Enough have signed, and the aggregator is back to tell it in the ledger."
    RELEASE_REJECTED = "ReleaseRejected", "An approver has rejected the final model."
    # BackupHealthy.
    NO_BACKUP_YET = "NoBackupYet", "No backup has been made, and none is late."
    BACKUP_FAILED = "BackupFailed", "The last backup failed."
    BACKUP_EMPTY = "BackupEmpty", "The newest backup holds nothing."
    BACKUP_SHRUNKEN = "BackupShrunken", "The newest backup holds less than half of what the one before did."
    BACKUP_OVERDUE = "BackupOverdue", "The newest backup is older than its schedule, or everyRounds, allows."
    NEVER_VERIFIED = "NeverVerified", "No backup has been restored to see whether it can be."
    VERIFICATION_FAILED = "VerificationFailed", "The last backup that was restored was not what it should be."
    VERIFICATION_OVERDUE = "VerificationOverdue", "The last verification is older than its schedule allows."
    BACKUP_VERIFIED = "BackupVerified", "A backup was restored and found right, as lately as its schedule asks."
    BACKUP_SUSPENDED = "BackupSuspended", "Nothing is backed up while the job, or its backup, is suspended."
    # Suspended.
    SUSPEND_REQUESTED = "SuspendRequested", "spec.suspend is true."
    NOT_SUSPENDED = "NotSuspended", "spec.suspend is false."
    # QueueAdmitted; its other reason is AwaitingQueue.
    ADMITTED = "Admitted", "The queue has admitted all training Jobs that it decides about."
    # RolledBack.
    ROLLED_BACK = "RolledBack", "Training goes on from the model of an earlier round."
    ROLLBACK_REFUSED = "RollbackRefused", "The round cannot be gone back to; the message says why, and to which others."
    # Complete and Failed.
    NOT_FINISHED = "NotFinished", "The job has not ended."
    COMPLETED = "Completed", "Training ended well."
    FAILED = "Failed", "Training ended badly."
    NO_SITES_LEFT = "NoSitesLeft", "At every site the training Job failed in a way that running again cannot cure."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "activeDeadlineSeconds have passed since the start of the job."
    INIT_FAILED = "InitFailed", "The init Job failed and left no pod that tells why."
    INIT_MODEL_MISSING = "InitModelMissing", "The init Job is complete and the aggregator has no model."
    # Pods that do not start.
    IMAGE_ERROR = "ImageError", "The image cannot be pulled or its name is malformed."
    PODS_REFUSED = "PodsRefused", "The cluster refuses to create pods: a quota or a policy; the message has its words."
    UNSCHEDULABLE = "Unschedulable", "No node has what the pod asks for; it waits for capacity."
    CONFIG_ERROR = "ConfigError", "A ConfigMap, Secret or key that the container needs is missing."
    VOLUME_MISSING = "VolumeMissing", "A volume claim that the pod mounts does not exist or is not bound."
    MOUNT_PENDING = "MountPending", "The pod has a node, but a volume cannot be mounted."
    # Sites.
    OOM_KILLED = "OOMKilled", "The container used more memory than its limit."
    JOB_FAILED = "JobFailed", "The training Job failed and left no pod that tells why."
    ENDED_EARLY = "EndedEarly", "The site's training Job is complete, but its update is missing; it is not waited for."
    TOO_MANY_FAILURES = "TooManyFailures", "The site's pods failed too often in this round; it rests until the next."
    AWAITING_AGGREGATOR = "AwaitingAggregator", "The training Job starts when the aggregator is ready."
    AWAITING_QUEUE = "AwaitingQueue", "A queue decides when the training Job starts."
    JOBSET_MISSING = "JobSetMissing", "The pool needs a JobSet, and the cluster does not have that kind of object."
    RING_INCOMPLETE = "RingIncomplete", "The site's ring trains with fewer workers than its pool asks for."
    NOT_SELECTED = "NotSelected", "The site has no part in the step under way, and with lifetime Round no training Job."
    ROUND_DONE = "RoundDone", "The site has done its part of the round; with lifetime Round its training Job has ended."
    PAUSED = "Paused", "The FLClient is paused."
    NOT_ENROLLED = "NotEnrolled", "The site has to have a key of its own (spec.enrollment), and has none yet."
    NOT_STARTED = "NotStarted", "The site was paused before its Job of the round had started; nobody waits for it."
    NOT_READY = "NotReady", "The FLClient is not Ready."
    NOT_CONFIDENTIAL = (
        "NotConfidential",
        "The site demands a confidential aggregator (spec.requires), and the job has none of a kind that it trusts.",
    )
    NOT_PRIVATE = (
        "NotPrivate",
        "The site demands that masks or noise hide its updates (spec.requires.privacy), and the job asks for none, or for less noise; encrypted sums are no masks.",
    )
    REPLACING = "Replacing", "The old training Job makes room for one with the changed template."
    REPLACED_NEXT_ROUND = "ReplacedNextRound", "The template changed; the Job is replaced by the next round."
    # FLClients.
    HEARTBEAT = "Heartbeat", "The site's Lease was renewed within 5 minutes."
    HEARTBEAT_LOST = "HeartbeatLost", "The site's Lease was not renewed for 5 minutes."
    EXPIRED = "Expired", "The site was not heard from for 24 hours."
    NO_TRAINER = "NoTrainer", "No training pod runs at the site, between rounds for example."
    NEVER_HEARD = "NeverHeard", "The site's Lease was never renewed."
    DATA_FOUND = "DataFound", "A training pod runs or ran without missing its data."
    DATA_MISSING = "DataMissing", "The task says that the site's data is absent or unreadable."
    NOT_TRIED = "NotTried", "No training pod has looked at the data yet."
    SPEC_CHANGED = "SpecChanged", "The FLClient changed after its data was found missing; not tried again yet."


class EventReason(Word):
    """Reasons of Kubernetes events on a FederatedJob."""

    ACCEPTED = "Accepted", "The job was accepted."
    REFUSED = "Refused", "The job cannot be acted on."
    AGGREGATOR_READY = "AggregatorReady", "The aggregator is ready; training Jobs are started."
    AGGREGATOR_LOST = "AggregatorLost", "The aggregator is no longer ready."
    QUORUM_MISSED = "QuorumMissed", "A round ended without quorum."
    ATTEMPT_FAILED = "AttemptFailed", "An attempt of a round came to nothing, and not for want of a quorum."
    STALLED = "Stalled", "The job cannot go on without help."
    RECOVERED = "Recovered", "The job goes on again."
    SUSPENDED = "Suspended", "The job was suspended."
    RESUMED = "Resumed", "The job was resumed."
    QUEUE_ADMITTED = "QueueAdmitted", "The queue has admitted all training Jobs that it decides about."
    AWAITING_QUEUE = "AwaitingQueue", "Training Jobs wait for the queue again: new ones, or evicted ones."
    ROLLED_BACK = "RolledBack", "Training goes on from the model of an earlier round, as spec.rollbackTo asks."
    ROLLBACK_REFUSED = "RollbackRefused", "spec.rollbackTo asks for what cannot be done."
    SITE_TROUBLE = "SiteTrouble", "A site's training Job has a new problem."
    KEYS_REPLACED = "KeysReplaced", "The operator's keys were lost and made anew; the job goes on with new ones."
    OBJECT_REFUSED = "ObjectRefused", "An object that the job needs cannot be written, or its name is somebody else's."
    ROUNDS_UNDONE = "RoundsUndone", "Rounds were undone because of an anomaly: which, and without whom the job goes on."
    ROUNDS_NOT_UNDONE = "RoundsNotUndone", "Rounds were to be undone because of an anomaly, and why that could not be."
    ANOMALOUS_UPDATES = "AnomalousUpdates", "Updates of a round are anomalous: whose, why, and what was done about it."
    QUEUE_TROUBLE = "QueueTrouble", "The queues cannot be used; rounds go on over HTTPS."
    STORAGE_TROUBLE = "StorageTrouble", "The bucket cannot be used."
    STORAGE_SAFE = "StorageSafe", "The bucket is set up as `fedloom storage check` asks."
    SITE_STATE_AT_RISK = "SiteStateAtRisk", "Sites lose with their pod what the job needs at them."
    STORAGE_UNSAFE = "StorageUnsafe", "A setting of the bucket is missing: what the message names."
    RESTORED = "Restored", "The store holds the backup that the job begins with."
    BACKUP_UNHEALTHY = "BackupUnhealthy", "A backup failed, is empty, shrunken or late, or was not found right."
    BACKUP_VERIFIED = "BackupVerified", "Backups are healthy: one was restored and found right."
    TAKEN_BACK = "TakenBack", "What somebody else had set in an object of the aggregator was taken back."
    COMPLETED = "Completed", "Training ended well."
    FAILED = "Failed", "Training ended badly."
    EXPIRED = "Expired", "ttlSecondsAfterFinished have passed; the job deletes itself."
