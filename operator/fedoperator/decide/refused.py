"""Policy: objects that cannot be written. Somebody else's object has the name, or the API server does not take ours.

A job whose hub lacks an object does not go on, and an aggregator never runs beside a foreign object that has the
name of its account, its rights, its configuration or its Service: it is stopped until the name is free. What only backups need
stops nobody: the conditions ObjectsApplied and BackupHealthy say it.
"""

from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key, Refused
from fedoperator.decide.facts import Fact, Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.desired.kinds import JOB_KINDS


def _reason(refused: Refused) -> Reason:
    return Reason.FOREIGN_OBJECT if refused.foreign else Reason.OBJECT_REFUSED


def objects_fact(context: JobContext) -> Fact | None:
    """The ObjectsApplied condition; None where nothing is refused."""
    found = sorted(context.observed.refused, key=lambda each: not each.foreign)
    if not found:
        return None
    return Fact("False", _reason(found[0]), clipped("; ".join(each.message for each in found)))


def foreign_names(context: JobContext) -> bool:
    """Whether an object of somebody else has the name of one that the job needs to train."""
    return any(each.foreign for each in context.observed.refused if not _of_backups(context, each))


def _of_backups(context: JobContext, refused: Refused) -> bool:
    """Whether only backups need the object. A restore needs their account, too, and its Job waits for it."""
    identity = context.identity
    own = (identity.backup, identity.verify, identity.backup_account, identity.backup_claim)
    return refused.key.name in own


def hub(context: JobContext) -> Trouble | None:
    """What keeps the aggregator from being as it must: a name that is taken, or a refusal while it is not ready."""
    others = (each for each in context.observed.refused if each.key.kind not in JOB_KINDS)
    of_hub = [each for each in others if not _of_backups(context, each)]
    found = [each for each in of_hub if each.foreign] or ([] if context.aggregator_ready else of_hub)
    return Trouble(_reason(found[0]), clipped(found[0].message), overdue=True) if found else None


def training_job(context: JobContext, client: str) -> Trouble | None:
    """Why a site's training Job cannot be made."""
    manifest = context.wanted.get(client)
    found = context.refused(Key(manifest["kind"], manifest["metadata"]["name"])) if manifest else None
    return Trouble(_reason(found), clipped(found.message)) if found else None
