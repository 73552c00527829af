"""The operator's leaves of `.status`, put together; and whether they say anything new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fedapi.crd.job_status import OPERATOR_LEAVES, Children, FederatedJobStatus, SiteStatus
from fedapi.jsonvalue import JsonView
from fedoperator.decide import (
    backup_health,
    backups,
    queues,
    queues_ready,
    refused,
    released,
    restoring,
    site_state,
    storage_ready,
    storage_safe,
)
from fedoperator.decide.accepted import accepted
from fedoperator.decide.conditions import conditions
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Ending, Fact, stamp
from fedoperator.decide.phase import phase
from fedoperator.decide.progress import aggregator_fact, progress_fact, quorum_fact, suspended_fact
from fedoperator.decide.reasons import ConditionType as Type
from fedoperator.decide.reasons import Reason
from fedoperator.decide.rollback import rolled_back_fact


@dataclass(frozen=True)
class StatusParts:
    """What the status of a job says beyond what the context tells."""

    ending: Ending | None
    sites: Sequence[SiteStatus] | None


def _end_facts(ending: Ending | None) -> Mapping[str, Fact]:
    open_ = Fact("False", Reason.NOT_FINISHED, "")
    if ending is None:
        return {Type.COMPLETE: open_, Type.FAILED: open_}
    told = Fact("True", ending.reason, ending.message)
    other = Fact("False", Reason.FINISHED, "")
    pair = (told, other) if ending.complete else (other, told)
    return {Type.COMPLETE: pair[0], Type.FAILED: pair[1]}


def _facts(context: JobContext, ending: Ending | None) -> Mapping[str, Fact]:
    aggregator, progress = aggregator_fact(context), progress_fact(context, aggregator_fact(context))
    suspended, queue = suspended_fact(context), queues.admitted_fact(context) if ending is None else None
    if ending is not None:
        aggregator = progress = Fact("False", Reason.FINISHED, "the job has ended")
        suspended = Fact("False", Reason.FINISHED, "the job has ended")
    elif not acted_on(context):
        progress = Fact("False", Reason.NOT_ACCEPTED, "see the Accepted condition")
    return {
        Type.ACCEPTED: accepted(context),
        Type.AGGREGATOR_READY: aggregator,
        Type.QUORUM_REACHED: quorum_fact(context),
        Type.PROGRESSING: progress,
        Type.SUSPENDED: suspended,
        **({Type.QUEUE_ADMITTED: queue} if queue else {}),
        **_of_what_is_kept(context),
        **({Type.OBJECTS_APPLIED: blocked} if (blocked := refused.objects_fact(context)) else {}),
        **({Type.ROLLED_BACK: back} if (back := rolled_back_fact(context, ended=ending is not None)) else {}),
        **_end_facts(ending),
    }


def _of_what_is_kept(context: JobContext) -> Mapping[str, Fact]:
    """What a job does not have that keeps nothing in a bucket or at its sites, has no queues or backup, or was not restored."""
    found = {
        Type.STORAGE_READY: storage_ready.fact(context),
        Type.STORAGE_SAFE: storage_safe.fact(context),
        Type.SITE_STATE_KEPT: site_state.fact(context),
        Type.QUEUES_READY: queues_ready.fact(context),
        Type.RESTORED: restoring.fact(context),
        Type.BACKUP_HEALTHY: backup_health.fact(context),
        Type.RELEASED: released.fact(context),
    }
    return {type_: fact for type_, fact in found.items() if fact is not None}


def acted_on(context: JobContext) -> bool:
    """Whether the job has children: it is accepted, or was."""
    return context.started is not None or accepted(context).status == "True"


def _start_time(context: JobContext) -> str | None:
    return context.status.start_time or (stamp(context.now) if acted_on(context) else None)


def status(context: JobContext, parts: StatusParts) -> FederatedJobStatus:
    """The operator's half of the status."""
    generation, ending = context.observed.job.metadata.generation, parts.ending
    return FederatedJobStatus(
        conditions=conditions(context.status.conditions, _facts(context, ending), generation, context.now),
        phase=phase(context, ending),
        observed_generation=generation,
        start_time=_start_time(context),
        completion_time=_completion_time(context, ending),
        backups_since=stamp(since) if (since := backups.asked_since(context)) else None,
        children=_children(context) if acted_on(context) else None,
        sites=list(parts.sites) if parts.sites is not None else None,
    )


def _children(context: JobContext) -> Children:
    identity, backup = context.identity, context.spec.backup
    return Children(
        aggregator=identity.aggregator,
        volume_claim=None if context.spec.storage.bucket else identity.claim,
        backup=identity.backup if backup else None,
        verify=identity.verify if backup and backup.verify else None,
        backup_claim=identity.backup_claim if backup and backup.destination.bucket is None else None,
    )


def _completion_time(context: JobContext, ending: Ending | None) -> str | None:
    return (context.status.completion_time or stamp(ending.time)) if ending else None


def refused_status(old: FederatedJobStatus, fact: Fact, generation: int, now: datetime) -> FederatedJobStatus:
    """The status of a job whose spec cannot be read: only Accepted is decided, the rest stays."""
    mine = conditions(old.conditions, {Type.ACCEPTED: fact}, generation, now)
    others = [condition for condition in old.conditions or () if condition.type != Type.ACCEPTED]
    return old.model_copy(update={"conditions": [*mine, *others]})


def owned(value: FederatedJobStatus) -> JsonView:
    """The operator's leaves as JSON: what is applied."""
    return {key: leaf for key, leaf in value.dump().items() if key in OPERATOR_LEAVES}


def news(old: FederatedJobStatus, new: FederatedJobStatus) -> JsonView | None:
    """The new leaves, or None where they say what the old ones say."""
    return None if owned(old) == owned(new) else owned(new)
