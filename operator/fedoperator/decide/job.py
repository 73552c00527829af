"""decide: the one function between what was observed of a FederatedJob and what is done about it.

Called by the operator's worker and by the embedded runner. It only puts the policies beside it in order; each
policy is a file of its own.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from fedapi.crd.federatedjob import OPERATOR_CONTROLLER
from fedapi.crd.job_status import FederatedJobStatus
from fedoperator.decide import (
    anomalies,
    backup_health,
    backups,
    children,
    early,
    failures,
    lifetime,
    pending,
    podless,
    queues,
    released,
    storage_safe,
)
from fedoperator.decide.accepted import refused
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Decision, Event, Key, Observed
from fedoperator.decide.events import condition_events, keys_event, site_events
from fedoperator.decide.facts import Ending
from fedoperator.decide.finish import ending, scaled_down, stops_at
from fedoperator.decide.gate import closed, gate
from fedoperator.decide.gate import lasting as lasting_gate
from fedoperator.decide.hub import deployment
from fedoperator.decide.reasons import EventReason
from fedoperator.decide.rollback import rollback_events
from fedoperator.decide.site_status import final_site_status, site_status
from fedoperator.decide.status import StatusParts, acted_on, news, refused_status, status


def decide(observed: Observed, now: datetime) -> Decision:
    """What must be true next for a FederatedJob. Nothing, when it is being deleted or another controller's."""
    if observed.job.metadata.deletion_timestamp:
        return Decision()
    if observed.invalid:
        return _refused(observed, now)
    if observed.job.spec.managed_by != OPERATOR_CONTROLLER:
        return Decision()
    context = JobContext.of(observed, now)
    end = ending(context)
    if end is not None:
        return _finished(context, end)
    return _going(context) if acted_on(context) else _waiting(context)


def _refused(observed: Observed, now: datetime) -> Decision:
    old, generation = observed.job.status, observed.job.metadata.generation
    new = refused_status(old, refused(observed), generation, now)
    return Decision(status=news(old, new), events=_events(old, new))


def _waiting(context: JobContext) -> Decision:
    """Not accepted: nothing is made until a site matches; an FLClient's event brings the job here again."""
    new = status(context, StatusParts(ending=None, sites=None))
    return Decision(status=news(context.status, new), events=_events(context.status, new))


def _going(context: JobContext) -> Decision:
    objects = children.wanted(context)
    old_ones = children.predecessors(context, objects)
    delete = tuple(dict.fromkeys((*old_ones, *children.pruned(context, objects), *_withdrawn(context))))
    new = status(context, StatusParts(ending=None, sites=site_status(context)))
    return Decision(
        objects=children.without(objects, old_ones),
        secrets=children.secrets(context),
        suspend=gate(context, {key.name for key in delete}),
        delete=delete,
        status=news(context.status, new),
        events=(*_events(context.status, new), *keys_event(context.status.conditions, new.conditions or ())),
        requeue_after=_soonest(context, _due(context)),
    )


def _withdrawn(context: JobContext) -> tuple[Key, ...]:
    return queues.withdrawn(context) if context.spec.suspend else ()


def _due(context: JobContext) -> Iterator[datetime]:
    yield from pending.due(context)
    yield from failures.due(context)
    yield from early.due(context)
    yield from podless.due(context)
    yield from _backups_due(context)
    yield from storage_safe.due(context)
    until = lifetime.active_until(context)
    if until:
        yield until


def _backups_due(context: JobContext) -> Iterator[datetime]:
    yield from backups.due(context)
    yield from backup_health.due(context)


def _finished(context: JobContext, end: Ending) -> Decision:
    """After the end the aggregator and what still runs are stopped, in time, and nothing is made or mended but for backups.

    The aggregator comes back for as long as it has to tell decisions on the release.
    """
    expiry, wait = lifetime.expires(context, end), stops_at(context, end)
    if end.recorded and expiry and context.now >= expiry and not backups.owed(context):
        return Decision(delete_self=True, events=(Event("Normal", EventReason.EXPIRED, "its time to live is over"),))
    sites = final_site_status(context) if end.recorded else site_status(context)
    new = status(context, StatusParts(ending=end, sites=sites))
    stop, lasting = wait is None, children.wanted(context, children.LASTING)
    telling = released.to_be_told(context)
    last = (deployment(context, replicas=0),) if stop and not telling and not scaled_down(context) else ()
    pruned = children.pruned(context, lasting, children.LASTING)
    return Decision(
        objects=(*lasting, *(released.aggregator(context) if telling else last)),
        secrets=children.aggregator_secrets(context) if telling else (),
        suspend=closed(context) if stop else lasting_gate(context),
        delete=(*pruned, *(queues.withdrawn(context) if stop else ())),
        status=news(context.status, new),
        events=_events(context.status, new),
        requeue_after=_soonest(context, (*_backups_due(context), *(at for at in (expiry, wait) if at))),
    )


def _events(old: FederatedJobStatus, new: FederatedJobStatus) -> tuple[Event, ...]:
    now = new.conditions or ()
    return (
        *condition_events(old.conditions, now),
        *rollback_events(old.conditions, now),
        *anomalies.events(old.anomalies, old.conditions, now),
        *site_events(old.sites, new.sites),
    )


def _soonest(context: JobContext, times: Iterable[datetime]) -> float | None:
    """Seconds until the first of the times that is still to come."""
    ahead = [(at - context.now).total_seconds() for at in times if at > context.now]
    return min(ahead, default=None)
