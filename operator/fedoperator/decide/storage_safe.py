"""Policy: the StorageSafe condition of a job whose store is a bucket: from what its aggregator found of the bucket's settings.

It stops nobody. What may not be asked is unknown, never missing; what was found long ago is unknown, too.
"""

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from fedapi.crd.job_status import StorageFinding, StorageStatus, Topic
from fedapi.crd.storage import Storage
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, clipped, instant
from fedoperator.decide.reasons import Reason
from fedoperator.desired.store_place import uri

OVERDUE = timedelta(days=2)  # the aggregator looks once a day
_MISSING: Mapping[Topic, Reason] = {  # what weighs most is first
    "PublicAccess": Reason.PUBLIC_ACCESS_ALLOWED,
    "Residency": Reason.OUTSIDE_RESIDENCY,
    "Encryption": Reason.ENCRYPTION_MISSING,
    "Transport": Reason.PLAINTEXT_ALLOWED,
    "Access": Reason.ACCESS_NOT_RESTRICTED,
    "Versioning": Reason.VERSIONING_MISSING,
    "Retention": Reason.RETENTION_MISSING,
    "Lifecycle": Reason.LIFECYCLE_MISSING,
    "Replication": Reason.REPLICATION_MISSING,
    "Logging": Reason.LOGGING_MISSING,
}
_ORDER = tuple(_MISSING)


def fact(context: JobContext) -> Fact | None:
    """The condition; None: the store is a volume, which has no such settings."""
    bucket, told = context.spec.storage.bucket, context.status.storage
    if bucket is None:
        return None
    if context.status.outcome is not None:
        return Fact("Unknown", Reason.FINISHED, "the job has ended: nobody looks at the bucket")
    if told is None:
        return Fact("Unknown", Reason.NOT_CHECKED_YET, "the aggregator has not looked at the bucket yet")
    if context.now > _late(told):
        since = f"the aggregator looks once a day while it runs, and last did at {told.checked_time}"
        return Fact("Unknown", Reason.CHECK_OVERDUE, since)
    return _judged(
        told, frozenset(context.spec.storage.may_lack or ()), uri(bucket, ""), _command(context.spec.storage)
    )


def due(context: JobContext) -> Iterator[datetime]:
    """When the condition may change by the clock alone."""
    if context.spec.storage.bucket and context.status.storage and context.status.outcome is None:
        yield _late(context.status.storage)


def _late(told: StorageStatus) -> datetime:
    return instant(told.checked_time) + OVERDUE


def _command(storage: Storage) -> str:
    """What tells more of this bucket, as it is typed: with its endpoint and key, and with what the job asks of it."""
    place = storage.bucket.location().text() if storage.bucket else ""
    options = [("--region", each) for each in storage.residency or ()]
    options += [("--may-lack", each) for each in storage.may_lack or ()]
    words = ["fedloom", "storage", "check", place, *(word for option in options for word in option)]
    return shlex.join(words)


def _judged(told: StorageStatus, may_lack: frozenset[str], where: str, command: str) -> Fact:
    found = [each for each in told.findings if each.requirement not in may_lack]
    missing = sorted((each for each in found if each.state == "Missing"), key=lambda each: _ORDER.index(each.topic))
    unknown = [each for each in found if each.state == "Unknown"]
    way_out = f"see `{command}`"
    if missing:
        message = f"{where} does not meet: {_listed(missing)}; {way_out}"
        return Fact("False", _MISSING[missing[0].topic], clipped(message))
    if unknown:
        message = (
            f"not known of {where}: {_listed(unknown)}; {way_out}, or give the aggregator the right to read settings"
        )
        return Fact("Unknown", Reason.SETTINGS_UNREADABLE, clipped(message))
    if found:
        message = (
            f"the store of {where} does not have: {_listed(found)}; {way_out}, or name them in spec.storage.mayLack"
        )
        return Fact("Unknown", Reason.SETTINGS_UNSUPPORTED, clipped(message))
    return Fact(
        "True",
        Reason.SAFE,
        f"{where} meets the {told.kept} requirements of `fedloom storage check` that were looked at",
    )


def _listed(findings: list[StorageFinding]) -> str:
    return ", ".join(each.requirement for each in findings)
