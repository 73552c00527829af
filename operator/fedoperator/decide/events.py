"""Policy: events, what a person is told once, when a condition or a site's reason changes. Compares old status with new."""

from collections.abc import Mapping, Sequence
from typing import Literal

from fedapi.crd.fields import Condition, find
from fedapi.crd.job_status import SiteStatus
from fedoperator.decide.decision import Event
from fedoperator.decide.reasons import ConditionType, EventReason, Reason
from fedoperator.decide.site_status import CALM

MAX_SITE_EVENTS = 10  # per pass: a broken image breaks all sites at once

_Type = Literal["Normal", "Warning"]
# What becoming True and what becoming False (after having been True) is called.
_TRUE: Mapping[str, tuple[_Type, EventReason]] = {
    ConditionType.ACCEPTED: ("Normal", EventReason.ACCEPTED),
    ConditionType.AGGREGATOR_READY: ("Normal", EventReason.AGGREGATOR_READY),
    ConditionType.SUSPENDED: ("Normal", EventReason.SUSPENDED),
    ConditionType.QUEUE_ADMITTED: ("Normal", EventReason.QUEUE_ADMITTED),
    ConditionType.STORAGE_SAFE: ("Normal", EventReason.STORAGE_SAFE),
    ConditionType.RESTORED: ("Normal", EventReason.RESTORED),
    ConditionType.BACKUP_HEALTHY: ("Normal", EventReason.BACKUP_VERIFIED),
    ConditionType.COMPLETE: ("Normal", EventReason.COMPLETED),
    ConditionType.FAILED: ("Warning", EventReason.FAILED),
}
_FALSE: Mapping[str, tuple[_Type, EventReason]] = {
    ConditionType.ACCEPTED: ("Warning", EventReason.REFUSED),
    ConditionType.QUORUM_REACHED: ("Warning", EventReason.QUORUM_MISSED),
    ConditionType.OBJECTS_APPLIED: ("Warning", EventReason.OBJECT_REFUSED),
    ConditionType.SITE_STATE_KEPT: ("Warning", EventReason.SITE_STATE_AT_RISK),
}
_BACK: Mapping[str, tuple[_Type, EventReason]] = {
    ConditionType.SUSPENDED: ("Normal", EventReason.RESUMED),
    ConditionType.QUEUE_ADMITTED: ("Normal", EventReason.AWAITING_QUEUE),
}


def _transition(old: Condition | None, new: Condition) -> tuple[_Type, EventReason] | None:
    if old is not None and old.status == new.status:
        return None
    if new.status == "True":
        return _TRUE.get(new.type)
    if new.reason == Reason.ATTEMPT_FAILED:
        return "Warning", EventReason.ATTEMPT_FAILED
    if new.status == "False":
        was_true = old is not None and old.status == "True"
        return _FALSE.get(new.type) or (_BACK.get(new.type) if was_true else None)
    return None


def _stalls(old: Sequence[Condition], new: Sequence[Condition], *, ended: bool) -> list[Event]:
    """Loss of the aggregator and of progress, which are no news when the job is suspended or has ended."""
    told: list[Event] = []
    suspended = find(new, ConditionType.SUSPENDED)
    if ended or (suspended is not None and suspended.status == "True"):
        return told
    for type_, reason in (
        (ConditionType.AGGREGATOR_READY, EventReason.AGGREGATOR_LOST),
        (ConditionType.PROGRESSING, EventReason.STALLED),
    ):
        before, after = find(old, type_), find(new, type_)
        if before and after and (before.status, after.status) == ("True", "False"):
            told.append(Event("Warning", reason, f"{after.reason}: {after.message}"))
    before, after = find(old, ConditionType.PROGRESSING), find(new, ConditionType.PROGRESSING)
    resumed = find(old, ConditionType.SUSPENDED)
    if before and after and (before.status, after.status) == ("False", "True") and resumed and resumed.status != "True":
        told.append(Event("Normal", EventReason.RECOVERED, after.message))
    return told


# Conditions of which every new reason to be False is told, but for those that only say that it is early.
_TOLD: Mapping[str, tuple[EventReason, frozenset[Reason]]] = {
    ConditionType.QUEUES_READY: (EventReason.QUEUE_TROUBLE, frozenset()),
    ConditionType.STORAGE_READY: (EventReason.STORAGE_TROUBLE, frozenset()),
    ConditionType.STORAGE_SAFE: (EventReason.STORAGE_UNSAFE, frozenset()),
    ConditionType.BACKUP_HEALTHY: (
        EventReason.BACKUP_UNHEALTHY,
        frozenset({Reason.NO_BACKUP_YET, Reason.NEVER_VERIFIED}),
    ),
}


def _new_reasons(old: Sequence[Condition], new: Sequence[Condition]) -> list[Event]:
    told = []
    for type_, (reason, early) in _TOLD.items():
        before, after = find(old, type_), find(new, type_)
        if after is None or after.status != "False" or after.reason in early:
            continue
        if before is None or (before.status, before.reason) != (after.status, after.reason):
            told.append(Event("Warning", reason, f"{after.reason}: {after.message}"))
    return told


def condition_events(old: Sequence[Condition] | None, new: Sequence[Condition]) -> list[Event]:
    """Events for conditions whose status changed."""
    before = old or ()
    told = []
    for condition in new:
        found = _transition(find(before, condition.type), condition)
        if found:
            told.append(Event(found[0], found[1], condition.message or condition.reason))
    ended = any(c.type in (ConditionType.COMPLETE, ConditionType.FAILED) and c.status == "True" for c in new)
    return told + _new_reasons(before, new) + _stalls(before, new, ended=ended)


def keys_event(old: Sequence[Condition] | None, new: Sequence[Condition]) -> list[Event]:
    """That all of the job starts again with new keys: its conditions may not change their status by it."""
    before, after = find(old or (), ConditionType.PROGRESSING), find(new, ConditionType.PROGRESSING)
    now = after is not None and after.reason == Reason.KEYS_REPLACED
    fresh = now and (before is None or before.reason != Reason.KEYS_REPLACED)
    return [Event("Warning", EventReason.KEYS_REPLACED, after.message)] if fresh and after else []


def site_events(old: Sequence[SiteStatus] | None, new: Sequence[SiteStatus] | None) -> list[Event]:
    """Events for sites with a new reason that wants attention."""
    before = {entry.name: entry.reason for entry in old or ()}
    fresh = [s for s in new or () if s.reason not in CALM and before.get(s.name) != s.reason]
    return [
        Event("Warning", EventReason.SITE_TROUBLE, ": ".join(filter(None, (f"site {s.name}", s.reason, s.message))))
        for s in fresh[:MAX_SITE_EVENTS]
    ]
