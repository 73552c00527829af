"""Policy: what makes and verifies a job's backups: account, rights, volume, CronJobs, and a Job when rounds were committed.

They stay after the end of the job, when its aggregator is gone. A backup because of rounds follows from how far the
newest backup lags behind the last commit, not from a commit that was seen: nothing is lost while nobody looks.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from fedapi import names
from fedapi.crd.backup import Backup
from fedapi.crd.storage import Volume
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import instant
from fedoperator.decide.view import JobView, dig
from fedoperator.desired import access, backup_job, hub_pod, store_place
from fedoperator.desired.store_claim import backup_claim

ATTEMPTS = 6  # Jobs that try to make a job's last backup, over about five hours
FIRST_PAUSE = timedelta(minutes=10)  # after the first of them; doubled after each


def accounts(context: JobContext) -> tuple[JsonView, ...]:
    """The ServiceAccount of all pods that read or write backups."""
    if context.spec.backup is None and context.spec.restore_from is None:
        return ()
    store, destination, source = hub_pod.buckets(context.observed.job)
    used = (store, destination) if context.restored else (store, destination, source)
    account = access.backup(context.identity)
    return (access.service_account(context.identity, account, store_place.identities(used)),)


def roles(context: JobContext) -> tuple[JsonView, ...]:
    """What it may do: write its own job's status, and read what a backup keeps of the API."""
    if context.spec.backup is None:
        return ()
    return (access.backup_role(context.identity, (site.name for site in context.sites)),)


def role_bindings(context: JobContext) -> tuple[JsonView, ...]:
    """Who may do it."""
    if context.spec.backup is None:
        return ()
    return (access.role_binding(context.identity, access.backup(context.identity)),)


def claims(context: JobContext) -> tuple[JsonView, ...]:
    """The claim of the destination's volume, where it is one."""
    backup = context.spec.backup
    if backup is None or backup.destination.bucket is not None:
        return ()
    live = context.observed.children.get(Key("PersistentVolumeClaim", context.identity.backup_claim))
    size = dig(live, "spec", "resources", "requests", "storage")
    return (backup_claim(context.observed.job, backup.destination.volume or Volume(), size),)


def claim_kept(context: JobContext, claim: JsonView) -> bool:
    """A claim with backups is never the operator's to delete."""
    del context, claim
    return True


def suspended(context: JobContext) -> bool:
    """Whether no backup is made: the job is suspended, or its backups are."""
    return context.spec.suspend or context.spec.backup is None or context.spec.backup.suspend


def asked_since(context: JobContext) -> datetime | None:
    """Since when backups are asked for without a break: what came due while they were suspended is not late. None: they are not."""
    if context.started is None or suspended(context):
        return None
    return instant(context.status.backups_since) if context.status.backups_since else context.now


def cron_jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The CronJob that makes backups."""
    job, keys = context.observed.job, context.observed.settings.keys_id
    if (backup := job.spec.backup) is None:
        return ()
    return (backup_job.backup_cron_job(job, backup, context.hub_image, keys, suspend=suspended(context)),)


def verify_cron_jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The CronJob that verifies them."""
    job, keys = context.observed.job, context.observed.settings.keys_id
    if (backup := job.spec.backup) is None or (verify := backup.verify) is None:
        return ()
    return (backup_job.verify_cron_job(job, backup, verify, context.hub_image, keys, suspend=suspended(context)),)


def due_round(context: JobContext, backup: Backup) -> int | None:
    """The committed round that `everyRounds` wants a backup of; None: the newest backup has it, or none is wanted yet."""
    every, status = backup.every_rounds, context.status
    committed = status.round.committed if status.round else 0
    if every is None:
        return None
    wanted = committed if status.outcome is not None else committed // every * every
    held = status.backup.round if status.backup else None
    return wanted if wanted > (held or 0) else None


def _attempt(context: JobContext, round_: int) -> tuple[str, datetime | None]:
    """Name of the Job that makes the backup of that round, and when another takes its place because it failed.

    Only the last backup of a job that has ended is tried again: one before it is followed by those of later rounds.
    """
    made = {job.name: job for job in _made(context)}
    attempts = [names.triggered_backup_name(context.identity.name, round_, number) for number in range(ATTEMPTS)]
    number = max((number for number, name in enumerate(attempts) if name in made), default=0)
    job = made.get(attempts[number])
    lasting = context.status.outcome is None or number + 1 == ATTEMPTS
    if lasting or job is None or not job.failed or job.failed_at is None:
        return attempts[number], None
    again = job.failed_at + FIRST_PAUSE * 2**number
    return (attempts[number], again) if context.now < again else (attempts[number + 1], None)


def _of_rounds(context: JobContext) -> tuple[str | None, datetime | None]:
    """Name of the Job that makes the backup which is due, None where no such Job is wanted now; when to try once more."""
    backup = context.spec.backup
    round_ = None if backup is None or suspended(context) else due_round(context, backup)
    if round_ is None:
        return None, None
    name, again = _attempt(context, round_)
    others = any(job.name != name and not job.finished for job in _made(context))
    return (None, again) if others else (name, again)


def due(context: JobContext) -> Iterator[datetime]:
    """When a backup that failed is tried again."""
    _, again = _of_rounds(context)
    if again is not None:
        yield again


def owed(context: JobContext) -> bool:
    """Whether a backup is under way, or about to be because of rounds: a job that deletes itself waits for it."""
    if suspended(context):
        return False
    (name, again), made = _of_rounds(context), _made(context)
    to_come = again is not None or (name is not None and all(job.name != name for job in made))
    return to_come or any(not job.finished for job in made)


def jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The Job of a backup that rounds make due, when no other backup is under way: one at a time."""
    job, keys = context.observed.job, context.observed.settings.keys_id
    (name, _), backup = _of_rounds(context), job.spec.backup
    if name is None or backup is None or any(live.name == name for live in _made(context)):
        return ()  # its template is immutable: one that is there is left as it is
    return (backup_job.triggered_backup(job, backup, context.hub_image, keys, name),)


def _made(context: JobContext) -> tuple[JobView, ...]:
    return context.jobs.get(names.ROLE_BACKUP, ())


def job_kept(context: JobContext, job: JsonView) -> bool:
    """A Job that works stays, and the one of the round that is due, which tells how it went."""
    view = JobView.of(job)
    name, _ = _of_rounds(context)
    return not view.finished or view.name == name
