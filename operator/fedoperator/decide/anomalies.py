"""Policy: anomalous updates, which the aggregator judges: a condition and events of the job, and the history of a site.

An FLClient keeps the last ones of all jobs, those that were deleted included.
"""

from collections.abc import Iterator, Sequence

from fedapi.crd.anomalies import MAX_OF_SITE, AnomaliesStatus, SiteAnomaly
from fedapi.crd.fields import Condition, find
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Event
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import ConditionType, EventReason, Reason

_SHOWN, _LONGEST = 10, 600  # sites in a message, and characters of its first part
_LONGEST_UNDONE = 350  # and of what was undone


def fact(context: JobContext) -> Fact | None:
    """The UpdatesSound condition; None: nothing is judged."""
    if context.spec.anomalies is None:
        return None
    told, round_ = context.status.anomalies, context.status.round
    if told is None or round_ is None:
        return Fact("Unknown", Reason.NO_ROUND_YET, "no round has been closed yet")
    last = "; ".join(part for part in (last_of(told), undone(told)) if part)
    if (wrong := _wrong(told, round_.committed, last)) is not None:
        return wrong
    if round_.committed == 0:
        return Fact("Unknown", Reason.NO_ROUND_YET, "no round has been closed yet")
    said = told.message or "no update of the newest round is anomalous"
    return Fact("True", Reason.NO_ANOMALIES, clipped(f"{last}; {said}" if last else said))


def _wrong(told: AnomaliesStatus, committed: int, last: str) -> Fact | None:
    """What somebody should look at; `last`: the last anomalies in words."""
    newest = told.rollbacks[0] if told.rollbacks else None
    if told.recent and told.recent[0].round >= max(1, committed):
        return Fact("False", Reason.ANOMALOUS_UPDATES, clipped(last))
    if newest is not None and newest.result == "Refused" and newest.committed >= committed:
        return Fact("False", Reason.ROUNDS_NOT_UNDONE, clipped(last))
    if told.suspended:
        return Fact("False", Reason.SITES_SUSPENDED, clipped(f"{last}; {_suspended(told)}"))
    return None


def last_of(told: AnomaliesStatus | None) -> str:
    """What is anomalous in the last round, or attempt of one, in which something is; empty where nothing ever was."""
    if told is None or not told.recent:
        return ""
    newest = told.recent[0]
    last = [each for each in told.recent if (each.round, each.attempt) == (newest.round, newest.attempt)]
    named = "; ".join(f"site {each.client}, round {each.round} ({each.action}): {each.message}" for each in last)
    return f"the last of {told.total} anomalous updates: {named}"[:_LONGEST]


def undone(told: AnomaliesStatus | None) -> str:
    """What the last anomaly that rounds were to be undone for has done; empty where there was none."""
    if told is None or not told.rollbacks:
        return ""
    return told.rollbacks[0].message[:_LONGEST_UNDONE]


def _suspended(told: AnomaliesStatus) -> str:
    named = ", ".join(f"{each.name} (round {each.round})" for each in told.suspended[:_SHOWN])
    others = max(told.suspended_total, len(told.suspended)) - _SHOWN
    more = f" and {others} more" if others > 0 else ""
    return f"suspended are {named}{more}: look into it, then name each in spec.anomalies.readmit with its round"


def suspended(context: JobContext) -> frozenset[str]:
    """Sites that the aggregator selects no more."""
    told = context.status.anomalies
    return frozenset(each.name for each in told.suspended) if told and context.spec.anomalies else frozenset()


def fit_at_most(context: JobContext, fit: int) -> int:
    """Of so many sites that seem able to take part, how many may be: the status names only the first that are suspended.

    Those that it does not name may be among the sites that take no part anyway.
    """
    told, listed = context.status.anomalies, suspended(context)
    if told is None or not listed:
        return fit
    unfit = sum(site.name not in listed for site in context.trainees) - fit
    return max(0, fit - max(0, told.suspended_total - len(listed) - unfit))


def events(told: AnomaliesStatus | None, old: Sequence[Condition] | None, new: Sequence[Condition]) -> list[Event]:
    """One for each round with anomalous updates, or for several that came since the last look, and for what was undone.

    The condition says what was told.
    """
    before, after = find(old or (), ConditionType.UPDATES_SOUND), find(new, ConditionType.UPDATES_SOUND)
    if after is None:
        return []
    known = before.message if before is not None else ""
    done = told is not None and bool(told.rollbacks) and told.rollbacks[0].result == "Done"
    wanted = (
        (EventReason.ANOMALOUS_UPDATES, last_of(told)),
        (EventReason.ROUNDS_UNDONE if done else EventReason.ROUNDS_NOT_UNDONE, undone(told)),
    )
    return [Event("Warning", reason, message) for reason, message in wanted if message and message not in known]


def sites(job: JsonView) -> tuple[str, ...]:
    """Sites of which a FederatedJob, as the API has it, tells anomalies."""
    return tuple(dict.fromkeys(each["client"] for each in _recent(job)))


def told(job: JsonView, client: str) -> Iterator[SiteAnomaly]:
    """What it tells of one."""
    metadata = job["metadata"]
    for each in _recent(job):
        if each["client"] == client:
            said = {key: value for key, value in each.items() if key != "client"}
            yield SiteAnomaly.model_validate({**said, "job": metadata["name"][:63], "uid": metadata["uid"]})


def _recent(job: JsonView) -> Sequence[JsonView]:
    return ((job.get("status") or {}).get("anomalies") or {}).get("recent") or ()


def of_site(old: Sequence[SiteAnomaly] | None, new: Sequence[SiteAnomaly]) -> list[SiteAnomaly] | None:
    """The history of a site with what jobs tell of it: each once, newest first."""
    known = {(each.uid, each.round, each.attempt): each for each in (*new, *(old or ()))}
    found = sorted(known.values(), key=lambda each: (each.time, each.round, each.attempt, each.uid), reverse=True)
    return found[:MAX_OF_SITE] or None
