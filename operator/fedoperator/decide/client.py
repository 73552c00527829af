"""decide_client: what an FLClient's status says, and the Lease that is its heartbeat.

Ready says whether the site can take part at all: its spec is readable and it is not paused. Missing data does not
make a site unready: one job's task says so, another's may find its own data, and a site that is not Ready could
never run the pod that proves the repair. DataAvailable tells; after a change of the FLClient it is Unknown again
until a newer pod has looked.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from fedapi import names, outcome
from fedapi.crd.fields import find
from fedapi.crd.flclient import FLClient, FLClientStatus, Pool
from fedapi.outcome import Exit
from fedoperator.decide import anomalies, participation
from fedoperator.decide.conditions import conditions
from fedoperator.decide.decision import Decision, ObservedClient
from fedoperator.decide.facts import Fact, clipped, instant
from fedoperator.decide.reasons import ClientCondition as Type
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import enrolled
from fedoperator.decide.view import PodView, dig
from fedoperator.desired.pool import Shape
from fedoperator.desired.site_lease import site_lease

ACTIVE = timedelta(seconds=names.SITE_LEASE_ACTIVE_S)
KNOWN = timedelta(seconds=names.SITE_EXPIRES_S)
MAX_SHORT = 63  # letters of a short string of the status
SETTLED = timedelta(seconds=30)  # a trainer that lives this long has not ended for lack of data
_BEFORE_DATA = frozenset(  # ended before it looked, or may have
    {
        Exit.BAD_SETTINGS, Exit.TASK_IMPORT, Exit.REFUSED,
        Exit.COLLECTIVE_MISSING, Exit.PEER_UNREACHABLE, Exit.RING_BROKEN,
    }
)  # fmt: skip


def accelerators(pool: Pool) -> str:
    """What the site trains on: `CPU`, `CPU x2` (pods), `nvidia.com/gpu 4x8` (pods x devices), `tpu7x 2x2x4` (topology)."""
    shape = Shape.of(pool)
    if pool.tpu:
        slices = f" x{shape.slices}" if shape.slices > 1 else ""
        return f"{pool.tpu.type} {pool.tpu.topology}{slices}"
    pods = f"{shape.workers}x" if shape.workers > 1 else "x"
    if pool.accelerator == "GPU":
        return clipped(f"{pool.resource_name} {pods}{shape.count}", MAX_SHORT)
    return "CPU" if shape.workers == 1 else f"CPU x{shape.workers}"


def _pods(observed: ObservedClient) -> Iterator[PodView]:
    """The site's training pods."""
    return (pod for pod in map(PodView.of, observed.pods) if pod.role == names.ROLE_TRAINER)


def _heard(observed: ObservedClient) -> datetime | None:
    """When, by whichever registry heard it last."""
    renewed = dig(observed.lease, "spec", "renewTime")
    seen = [instant(renewed)] if renewed else []
    return max([*seen, observed.registered.last_seen] if observed.registered else seen, default=None)


def _registers(observed: ObservedClient) -> bool:
    """Whether the site sends heartbeats to the registry itself, or did so."""
    return observed.registered is not None or observed.client.status.capability is not None


def _unknowable(observed: ObservedClient, heard: datetime | None, now: datetime) -> bool:
    """Whether the registry would have to say that the site is there, and cannot be asked."""
    silent = heard is None or now >= heard + ACTIVE
    return silent and observed.registry_away and _registers(observed)


def _ready(observed: ObservedClient) -> Fact:
    if observed.invalid:
        return Fact("False", Reason.INVALID_SPEC, clipped(observed.invalid))
    if observed.client.spec.paused:
        return Fact("False", Reason.PAUSED, "spec.paused is true: the site takes no part in new rounds")
    if not enrolled(observed.client.spec):
        return Fact("False", Reason.NOT_ENROLLED, _unenrolled(observed.client))
    return Fact("True", Reason.READY, "the site can take part in rounds")


def _unenrolled(client: FLClient) -> str:
    token = client.spec.enrollment.join_token if client.spec.enrollment else None
    if token is None:
        return f"the site has no key yet, and no token to ask for one: `fedloom site enroll {client.metadata.name}`"
    return f"the site has no key yet: it may ask for one until {token.not_after}, and `fedloom site approve` lets it in"


def _connected(observed: ObservedClient, heard: datetime | None, now: datetime) -> Fact:
    if observed.refused:
        first = observed.refused[0]
        return Fact("Unknown", Reason.FOREIGN_OBJECT if first.foreign else Reason.OBJECT_REFUSED, first.message)
    old = find(observed.client.status.conditions, Type.CONNECTED)
    if old is not None and _unknowable(observed, heard, now):
        return Fact(old.status, old.reason, old.message)
    if heard is not None and now < heard + ACTIVE:
        return Fact("True", Reason.HEARTBEAT, "the site was heard from within 5 minutes")
    return _silent(observed, heard, now)


def _silent(observed: ObservedClient, heard: datetime | None, now: datetime) -> Fact:
    """Of a site that was not heard from for 5 minutes. The registry forgets what has expired."""
    if heard is None and not _registers(observed):
        return Fact("Unknown", Reason.NEVER_HEARD, "the site was never heard from")
    nobody = not _registers(observed) and all(pod.finished for pod in _pods(observed))
    if heard is None or now >= heard + KNOWN:
        return Fact("Unknown" if nobody else "False", Reason.EXPIRED, "the site was not heard from for 24 hours")
    if nobody:
        return Fact("Unknown", Reason.NO_TRAINER, "no training pod runs at the site, so nobody is to be heard from")
    return Fact("False", Reason.HEARTBEAT_LOST, "the site was not heard from for 5 minutes")


def _told(pod: PodView, now: datetime) -> bool:
    """Whether a pod has got far enough to tell whether the data is there."""
    if pod.ended is not None:
        return pod.ended.code not in _BEFORE_DATA and not pod.disrupted
    return pod.ready_since is not None and now >= pod.ready_since + SETTLED


def _looked(pods: Iterable[PodView], now: datetime) -> PodView | None:
    """The newest training pod that tells."""
    return max((p for p in pods if _told(p, now)), key=lambda pod: (pod.created, pod.name), default=None)


def _repaired(client: FLClient, pod: PodView) -> bool:
    """Whether the FLClient changed after this pod had missed its data."""
    old = find(client.status.conditions, Type.DATA_AVAILABLE)
    if old is None:
        return False
    if old.reason == Reason.SPEC_CHANGED:
        return pod.ended is not None and pod.ended.finished <= instant(old.last_transition_time)
    return old.reason == Reason.DATA_MISSING and (old.observed_generation or 0) < client.metadata.generation


def _data(observed: ObservedClient, now: datetime) -> Fact:
    pod = _looked(_pods(observed), now)
    if pod is None:
        return _kept(observed.client) or Fact("Unknown", Reason.NOT_TRIED, "no training pod has looked at the data yet")
    if pod.ended is None or pod.ended.code != Exit.DATA_MISSING:
        return Fact("True", Reason.DATA_FOUND, "the newest training pod found its data")
    if _repaired(observed.client, pod):
        return Fact("Unknown", Reason.SPEC_CHANGED, "the FLClient changed after its data was found missing")
    return Fact("False", outcome.reason(Exit.DATA_MISSING), clipped(pod.ended.message or "the task found no data"))


def _kept(client: FLClient) -> Fact | None:
    """What an earlier pod said stays true when the pod is gone, until the FLClient changes."""
    old = find(client.status.conditions, Type.DATA_AVAILABLE)
    if old is None or old.reason == Reason.NOT_TRIED:
        return None
    if old.status == "False" and (old.observed_generation or 0) < client.metadata.generation:
        return Fact("Unknown", Reason.SPEC_CHANGED, "the FLClient changed after its data was found missing")
    return Fact(old.status, old.reason, old.message)


def _status(observed: ObservedClient, now: datetime) -> FLClientStatus:
    client, heard = observed.client, _heard(observed)
    facts: dict[str, Fact] = {Type.READY: _ready(observed), Type.CONNECTED: _connected(observed, heard, now)}
    generation = client.metadata.generation
    if not observed.invalid:
        facts[Type.DATA_AVAILABLE] = _data(observed, now)
    active = heard is not None and now < heard + ACTIVE
    return FLClientStatus(
        conditions=conditions(client.status.conditions, facts, generation, now),
        active=client.status.active if _unknowable(observed, heard, now) else active,
        accelerators=client.status.accelerators if observed.invalid else accelerators(client.spec.pool),
        capability=observed.registered.capability if observed.registered else client.status.capability,
        participation=participation.counted(observed.client.status.participation, observed.jobs, now),
        anomalies=anomalies.of_site(observed.client.status.anomalies, observed.anomalies),
        observed_generation=generation,
    )


def _due(observed: ObservedClient, heard: datetime | None, now: datetime) -> Iterator[datetime]:
    """When the clock alone changes the status."""
    if heard:
        yield from (heard + ACTIVE, heard + KNOWN)
    for pod in _pods(observed):
        if pod.ready_since and pod.ended is None:
            yield pod.ready_since + SETTLED
    yield from participation.due(observed.client.status.participation, observed.jobs, now)


def decide_client(observed: ObservedClient, now: datetime) -> Decision:
    """What must be true next for an FLClient: its Lease, and its status where that changes."""
    if observed.client.metadata.deletion_timestamp:
        return Decision()
    new = _status(observed, now)
    ahead = [(at - now).total_seconds() for at in _due(observed, _heard(observed), now) if at > now]
    return Decision(
        objects=() if observed.invalid else (site_lease(observed.client),),
        status=None if new == observed.client.status else new.dump(),
        requeue_after=min(ahead, default=None),
    )
