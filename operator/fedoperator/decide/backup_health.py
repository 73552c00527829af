"""Policy: the BackupHealthy condition. A backup counts when it was restored, and as long as its schedule says so.

Derived from what the backup wrote into `.status.backup`, from its Jobs, and from the clock: a verification that did not
happen is as bad as one that failed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from fedapi import names
from fedapi.crd.backup import Backup, Verify
from fedapi.crd.job_status import BackupStatus
from fedoperator.decide import backups, failures, pending, podless
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, clipped, instant
from fedoperator.decide.reasons import Reason
from fedoperator.decide.schedules import next_run
from fedoperator.decide.view import JobView

GRACE = timedelta(hours=1)  # for a run to begin, and to end
SHRUNKEN = 2  # so many times smaller than the one before


def fact(context: JobContext) -> Fact | None:
    """The condition; None: no backups are asked for."""
    backup = context.spec.backup
    if backup is None:
        return None
    if backups.suspended(context):
        which = "spec.suspend" if context.spec.suspend else "spec.backup.suspend"
        return Fact("Unknown", Reason.BACKUP_SUSPENDED, f"{which} is true: nothing is backed up")
    status = context.status.backup or BackupStatus()
    return _unmade(context, backup, status) or _unproved(context, backup, status) or _proved(status)


def _proved(status: BackupStatus) -> Fact:
    held = f" (round {status.round})" if status.round is not None else ""
    return Fact(
        "True",
        Reason.BACKUP_VERIFIED,
        f"the newest backup{held} was made at {status.last_time}; one was restored in {status.restore_seconds} s and found "
        f"right at {status.verified_time}",
    )


def _unmade(context: JobContext, backup: Backup, status: BackupStatus) -> Fact | None:
    """What is wrong with the newest backup itself."""
    if found := _failure(context, status, "Create", names.ROLE_BACKUP):
        return Fact("False", Reason.BACKUP_FAILED, found)
    late = _late(context, backup, status)
    overdue = late if late and context.now > late else None
    if status.last_time is None:
        return _none_yet(overdue)
    if not status.bytes:
        return Fact("False", Reason.BACKUP_EMPTY, f"the backup of {status.last_time} holds nothing")
    if status.previous_bytes and status.bytes * SHRUNKEN < status.previous_bytes:
        held = f"{status.bytes} bytes, and the one before held {status.previous_bytes}"
        return Fact(
            "False", Reason.BACKUP_SHRUNKEN, f"the backup of {status.last_time} holds {held}: look at the store"
        )
    if overdue:
        message = f"the newest backup is of {status.last_time}, and the next was due before {overdue:%FT%TZ}"
        return Fact("False", Reason.BACKUP_OVERDUE, message)
    return _outrun(context, backup, status)


def _none_yet(overdue: datetime | None) -> Fact:
    text = "no backup has been made yet"
    if overdue is None:
        return Fact("False", Reason.NO_BACKUP_YET, text)
    return Fact("False", Reason.BACKUP_OVERDUE, f"{text}, and one was due before {overdue:%FT%TZ}")


def _asked_since(context: JobContext) -> datetime:
    return backups.asked_since(context) or context.now


def _counted(context: JobContext, last: str | None) -> datetime:
    """From when on the next run is counted: the last one, or since then the end of a suspension."""
    since = _asked_since(context)
    return max(instant(last), since) if last else since


def _late(context: JobContext, backup: Backup, status: BackupStatus) -> datetime | None:
    """When the next backup by the schedule is overdue."""
    return next_run(backup.schedule, _counted(context, status.last_time)) + GRACE if backup.schedule else None


def _late_proof(context: JobContext, verify: Verify, status: BackupStatus) -> datetime:
    """When the next verification is overdue. A large backup takes a while."""
    patience = max(GRACE, timedelta(seconds=2 * float(status.restore_seconds or 0)))
    return next_run(verify.schedule, _counted(context, status.verified_time)) + patience


def _outrun(context: JobContext, backup: Backup, status: BackupStatus) -> Fact | None:
    """That rounds go on without backups."""
    committed = context.status.round.committed if context.status.round else 0
    behind = backup.every_rounds and committed - (status.round or 0) >= 2 * backup.every_rounds
    if behind and context.now > _asked_since(context) + GRACE:
        message = f"the newest backup holds round {status.round or 0}, and round {committed} is committed"
        return Fact("False", Reason.BACKUP_OVERDUE, message)
    return None


def _unproved(context: JobContext, backup: Backup, status: BackupStatus) -> Fact | None:
    """That the newest backups were not restored, or not well."""
    if backup.verify is None:
        message = "no backup is ever restored to see whether it can be: set spec.backup.verify"
        return Fact("False", Reason.NEVER_VERIFIED, message)
    if found := _failure(context, status, "Verify", names.ROLE_VERIFY):
        return Fact("False", Reason.VERIFICATION_FAILED, found)
    if status.verified_time is None:
        return Fact("False", Reason.NEVER_VERIFIED, "no backup has been restored yet to see whether it can be")
    if context.now > (late := _late_proof(context, backup.verify, status)):
        message = f"the last verification is of {status.verified_time}, and the next was due before {late:%FT%TZ}"
        return Fact("False", Reason.VERIFICATION_OVERDUE, message)
    return None


def _failure(context: JobContext, status: BackupStatus, step: str, role: str) -> str | None:
    """Why the last run of a step failed: in its own words, else in those of the Job, whose pod may never have started."""
    told = next((failure for failure in status.failures or () if failure.step == step), None)
    if told:
        return clipped(f"{told.reason}: {told.message}")
    good = status.last_time if step == "Create" else status.verified_time
    newest = _newest(context.jobs.get(role, ()))
    if newest is None:
        return None
    if newest.failed and not (good and newest.failed_at and instant(good) >= newest.failed_at):
        found = failures.job_failure(context, newest)
        return clipped(f"Job {newest.name}: {found.reason}: {found.message}") if found else None
    if newest.finished:
        return None
    stuck = podless.job(context, newest.name)
    waits = [t for t in (pending.trouble(context, pod) for pod in context.pods_of(newest.name)) if t and t.overdue]
    trouble = stuck or next(iter(waits), None)
    return clipped(f"Job {newest.name}: {trouble.reason}: {trouble.message}") if trouble else None


def _newest(jobs: tuple[JobView, ...]) -> JobView | None:
    """The Job that runs, else the one that ended last."""
    going = [job for job in jobs if not job.finished and not job.deleting]
    ended = sorted((job for job in jobs if job.finished), key=lambda job: str(job.completed or job.failed_at or ""))
    return going[-1] if going else ended[-1] if ended else None


def due(context: JobContext) -> Iterator[datetime]:
    """When the condition may change by the clock alone."""
    backup, status = context.spec.backup, context.status.backup or BackupStatus()
    if backup is None or backups.suspended(context):
        return
    if late := _late(context, backup, status):
        yield late
    if backup.every_rounds:
        yield _asked_since(context) + GRACE
    if backup.verify and status.verified_time:
        yield _late_proof(context, backup.verify, status)
