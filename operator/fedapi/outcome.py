"""Exit codes of the trainer and the aggregator: the contract with `podFailurePolicy` and the operator.

Raised by process entry points, read by fedoperator (rendering and deciding) and fedlocal. Codes are classed
by what to do next; a code outside this table is an ordinary failure that is retried within the budget.
"""

from enum import IntEnum


class Exit(IntEnum):
    """8-bit exit codes, distinct and documented (docs/reference/exit-codes.md)."""

    OK = 0
    # FatalError: running again cannot help until somebody changes something.
    BAD_SETTINGS = 10  # a setting or the job configuration is missing or malformed
    TASK_IMPORT = 11  # task.entrypoint does not import, or its factory fails
    DATA_MISSING = 12  # the task says that this site's data is absent or unreadable
    REFUSED = 13  # the aggregator does not know this site or its token
    TASK_INVALID = 14  # the task breaks its contract: wrong shapes, no parameters, non-numeric metrics
    COLLECTIVE_MISSING = (
        15  # the image lacks the library that joins the ranks (pool.collective), or it cannot do what is asked
    )
    DATA_DIFFERS = 16  # the ranks of one site see different data
    STORE_DAMAGED = 17  # the aggregator's store lacks or holds other bytes than were written: docs/operations.md
    TOO_OLD = 18  # the job or its store says what only a newer version than the aggregator's knows: docs/versions.md
    STORE_UNFIT = 19  # the bucket lacks what a store needs, or is where storage.residency does not allow it
    # Retried within the failure budget.
    TASK_FAILED = 20  # the task raised while training or evaluating
    AGGREGATOR_LOST = 21  # the aggregator stayed unreachable longer than the trainer waits
    STORE_FAILED = 22  # the aggregator cannot write its store (volume full, read-only)
    PEER_UNREACHABLE = 23  # ranks of one site cannot reach each other
    STATUS_REFUSED = 24  # the aggregator may not write the job's status: its token is void, its rights are gone
    NOT_BACKED_UP = 25  # a backup was not made, or holds less than it should: docs/backup.md
    NOT_RESTORABLE = 26  # a backup cannot be restored, or a restored model is not what was recorded: docs/backup.md
    STORE_DENIED = 27  # the store refuses the credentials, or they may not use the key that encrypts
    NOT_ATTESTED = (
        28  # the aggregator does not prove that it is the trusted environment it should be: docs/confidential.md
    )
    # Ignored: not a failure of this process.
    SUPERSEDED = 30  # an aggregator with a newer epoch took over
    RING_BROKEN = 31  # another rank or worker of the site's ring ended; this one is fit to join the next generation


FATAL = (
    Exit.BAD_SETTINGS,
    Exit.TASK_IMPORT,
    Exit.DATA_MISSING,
    Exit.REFUSED,
    Exit.TASK_INVALID,
    Exit.COLLECTIVE_MISSING,
    Exit.DATA_DIFFERS,
    Exit.STORE_DAMAGED,
)  # without TOO_OLD: no Job's process ends with it, and the name of every Job is made of these
# What fails a backup's Job at once, beside those.
BACKUP_FATAL = (Exit.TOO_OLD, Exit.STORE_UNFIT, Exit.NOT_RESTORABLE)
IGNORED = (Exit.SUPERSEDED, Exit.RING_BROKEN)

# Enumerated reason that conditions and status show for an exit code.
REASON = {
    Exit.BAD_SETTINGS: "BadSettings",
    Exit.TASK_IMPORT: "TaskImportFailed",
    Exit.DATA_MISSING: "DataMissing",
    Exit.REFUSED: "SiteRefused",
    Exit.TASK_INVALID: "TaskInvalid",
    Exit.COLLECTIVE_MISSING: "CollectiveMissing",
    Exit.DATA_DIFFERS: "DataDiffers",
    Exit.STORE_DAMAGED: "StoreDamaged",
    Exit.TOO_OLD: "VersionTooOld",
    Exit.STORE_UNFIT: "StoreUnfit",
    Exit.TASK_FAILED: "TaskFailed",
    Exit.AGGREGATOR_LOST: "AggregatorLost",
    Exit.STORE_FAILED: "StoreFailed",
    Exit.PEER_UNREACHABLE: "PeerUnreachable",
    Exit.STATUS_REFUSED: "StatusRefused",
    Exit.NOT_BACKED_UP: "NotBackedUp",
    Exit.NOT_RESTORABLE: "NotRestorable",
    Exit.STORE_DENIED: "StoreDenied",
    Exit.NOT_ATTESTED: "NotAttested",
    Exit.SUPERSEDED: "Superseded",
    Exit.RING_BROKEN: "RingBroken",
}


def reason(code: int) -> str:
    """Reason for any exit code; unknown codes read `ExitCode<N>`, signals `Signal<N>`."""
    if code in REASON:
        return REASON[Exit(code)]
    return f"Signal{code - 128}" if code > 128 else f"ExitCode{code}"
