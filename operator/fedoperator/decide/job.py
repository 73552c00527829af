"""decide: the one function between what was observed of a FederatedJob and what is done about it.

Called by the operator's worker and by the embedded runner. It only puts the policies beside it in order; each
policy is a file of its own.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from fedapi.crd.federatedjob import OPERATOR_CONTROLLER
from fedapi.crd.job_status import FederatedJobStatus
from fedoperator.decide import children, early, failures, lifetime, pending, podless, queues, rings
from fedoperator.decide.accepted import refused
from fedoperator.decide.events import condition_events, keys_event, site_events
from fedoperator.decide.facts import Ending
from fedoperator.decide.finish import ending, released, scaled_down
from fedoperator.decide.gate import closed, gate
from fedoperator.decide.model import Decision, Event, Key, Manifest, Observed
from fedoperator.decide.reasons import EventReason
from fedoperator.decide.replacement import replacement
from fedoperator.decide.scene import Scene
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
    scene = Scene.of(observed, now)
    end = ending(scene)
    if end is not None:
        return _finished(scene, end)
    return _going(scene) if acted_on(scene) else _waiting(scene)


def _refused(observed: Observed, now: datetime) -> Decision:
    old, generation = observed.job.status, observed.job.metadata.generation
    new = refused_status(old, refused(observed), generation, now)
    return Decision(status=news(old, new), events=_events(old, new))


def _waiting(scene: Scene) -> Decision:
    """Not accepted: nothing is made until a site matches; an FLClient's event brings the job here again."""
    new = status(scene, StatusParts(ending=None, sites=None))
    return Decision(status=news(scene.status, new), events=_events(scene.status, new))


def _going(scene: Scene) -> Decision:
    jobs, ring_objects = replacement(scene), rings.ring_objects(scene)
    objects: tuple[Manifest, ...] = (*children.fixed(scene), *ring_objects, *jobs.apply)
    old_ones = children.predecessors(scene, objects)
    removed = (*jobs.delete, *rings.superfluous(scene, ring_objects, jobs.busy), *_withdrawn(scene))
    delete = tuple(dict.fromkeys((*old_ones, *children.stale_init(scene), *removed)))
    new = status(scene, StatusParts(ending=None, sites=site_status(scene, jobs)))
    return Decision(
        objects=children.without(objects, old_ones),
        secrets=children.secrets(scene),
        suspend=gate(scene, {key.name for key in delete}),
        delete=delete,
        status=news(scene.status, new),
        events=(*_events(scene.status, new), *keys_event(scene.status.conditions, new.conditions or ())),
        requeue_after=_soonest(scene, _due(scene)),
    )


def _withdrawn(scene: Scene) -> tuple[Key, ...]:
    return queues.withdrawn(scene) if scene.spec.suspend else ()


def _due(scene: Scene) -> Iterator[datetime]:
    yield from pending.due(scene)
    yield from failures.due(scene)
    yield from early.due(scene)
    yield from podless.due(scene)
    until = lifetime.active_until(scene)
    if until:
        yield until


def _finished(scene: Scene, end: Ending) -> Decision:
    """After the end nothing is made or mended any more: the aggregator and what still runs are stopped, in time."""
    expiry, wait = lifetime.expires(scene, end), released(scene, end)
    if end.recorded and expiry and scene.now >= expiry:
        return Decision(delete_self=True, events=(Event("Normal", EventReason.EXPIRED, "its time to live is over"),))
    sites = final_site_status(scene) if end.recorded else site_status(scene, replacement(scene))
    new = status(scene, StatusParts(ending=end, sites=sites))
    stop = wait is None
    return Decision(
        objects=(children.deployment(scene, replicas=0),) if stop and not scaled_down(scene) else (),
        suspend=closed(scene) if stop else {},
        delete=queues.withdrawn(scene) if stop else (),
        status=news(scene.status, new),
        events=_events(scene.status, new),
        requeue_after=_soonest(scene, (at for at in (expiry, wait) if at)),
    )


def _events(old: FederatedJobStatus, new: FederatedJobStatus) -> tuple[Event, ...]:
    return (*condition_events(old.conditions, new.conditions or ()), *site_events(old.sites, new.sites))


def _soonest(scene: Scene, times: Iterable[datetime]) -> float | None:
    """Seconds until the first of the times that is still to come."""
    ahead = [(at - scene.now).total_seconds() for at in times if at > scene.now]
    return min(ahead, default=None)
