"""Why a backup was not made, not verified or not restored, classed by what to do next. `reason` is what status shows.

BackupError
├── NotBackedUpError    look at the job or its store: there is nothing to archive, less than before, or it is damaged
├── NotRestorableError  the backup is of no use as it is: damaged, signed by somebody else, of a newer version, or its model is off
├── StoreTroubleError   retry later: a store is full, fails, or refuses
└── BadRequestError     the caller's fault: a setting, a backup that there is not, a store that is in use
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from fedapi.outcome import Exit
from fedstore.errors import (
    HeadMovedError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    UnfitStoreError,
    UnknownStoreError,
)


class Reason(StrEnum):
    """One word for each, as status and evidence show it."""

    NOTHING_COMMITTED = "NothingCommitted"
    SHRUNKEN = "BackupShrunken"
    SOURCE_DAMAGED = "SourceDamaged"
    NO_BACKUP = "NoBackup"
    BACKUP_DAMAGED = "BackupDamaged"
    WRONG_SIGNATURE = "WrongSignature"
    VERSION_TOO_OLD = "VersionTooOld"
    VERIFY_SET_MISSING = "VerifySetMissing"
    EVALUATION_FAILED = "EvaluationFailed"
    NOTHING_RECORDED = "NothingRecorded"
    METRIC_DIFFERS = "MetricDiffers"
    TARGET_NOT_EMPTY = "TargetNotEmpty"
    STILL_COLD = "StillCold"
    STORE_FULL = "StoreFull"
    STORE_DENIED = "StoreDenied"
    STORE_FAILED = "StoreFailed"
    STATUS_REFUSED = "StatusRefused"
    BAD_SETTINGS = "BadSettings"


class BackupError(Exception):
    """Base of all errors of this package."""

    code = Exit.NOT_BACKED_UP

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotBackedUpError(BackupError):
    """What should be archived is not there, or not what it was."""


class NotRestorableError(BackupError):
    """What was archived does not give the job back."""

    code = Exit.NOT_RESTORABLE

    def __init__(self, reason: Reason, message: str, damaged: tuple[str, ...] = ()) -> None:
        super().__init__(reason, message)
        self.damaged = damaged  # digests of content that is lost or changed


class StoreTroubleError(BackupError):
    """A store does not do what it is asked for now."""

    code = Exit.STORE_FAILED


class StoreDeniesError(StoreTroubleError):
    """It refuses the credentials, or the key that encrypts."""

    code = Exit.STORE_DENIED


class StatusRefusedError(StoreTroubleError):
    """The job's status cannot be written."""

    code = Exit.STATUS_REFUSED


class BadRequestError(BackupError):
    """Somebody must ask for something else."""

    code = Exit.BAD_SETTINGS


@contextmanager
def told(which: str) -> Iterator[None]:
    """Names the store whose trouble it is: the job's, or where its backups are."""
    try:
        yield
    except (UnknownStoreError, UnfitStoreError) as error:
        raise BadRequestError(Reason.BAD_SETTINGS, f"{which}: {error}") from error
    except StoreFullError as error:
        raise StoreTroubleError(Reason.STORE_FULL, f"{which} is full: {error}: make room or enlarge it") from error
    except StoreDeniedError as error:
        text = f"{which} refuses: {error}: look at its credentials, its policy and the key that encrypts it"
        raise StoreDeniesError(Reason.STORE_DENIED, text) from error
    except HeadMovedError as error:
        raise BadRequestError(Reason.TARGET_NOT_EMPTY, f"{which} is in use: {error}") from error
    except StoreError as error:
        raise StoreTroubleError(Reason.STORE_FAILED, f"{which} fails: {error}") from error
