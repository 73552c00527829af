"""Which workers train together, decided: members, generations of the ring, and their ends. Pure.

service.py feeds events in and tells each worker its `answer`. Law: at most one generation at a time; its number is
above all that were heard of when it began; worker 0 is in it; it holds whole slices, at least min_workers and at most
workers; finished is final. A worker that a generation has lost comes back only by a join, as a member of a later one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

REMEMBERED = 1000  # incarnations that were replaced or have left
DROP_GRACE_S = 3.0  # for a worker whose connection broke to ask again


@dataclass(frozen=True)
class Rules:
    """What the pool asks for."""

    workers: int
    min_workers: int
    slots: int = 1
    slice_hosts: int = 1
    wait_s: float = 60.0  # after the last change, for missing workers
    silence_s: float = 15.0  # without a word from a worker: it is lost
    steady_s: float = 600.0  # a generation that lived this long made progress
    most_breaks: int = 5  # in a row, by ranks alone, without progress


@dataclass(frozen=True)
class Worker:
    """One launcher: `incarnation` tells it from those that were the same worker before."""

    worker: int
    incarnation: str
    address: str
    reach_port: int
    store_port: int = 0


@dataclass(frozen=True)
class Generation:
    """Workers whose ranks train together, in the order of ranks."""

    number: int
    members: tuple[Worker, ...]
    since: float = 0.0

    def has(self, worker: int, incarnation: str) -> bool:
        """Whether this very launcher is in it."""
        return any((m.worker, m.incarnation) == (worker, incarnation) for m in self.members)


@dataclass(frozen=True)
class Join:
    """A launcher without ranks asks for its next generation; `after` is the last it took part in, 0 at first."""

    who: Worker
    after: int = 0
    why: str = ""  # why that one ended here


@dataclass(frozen=True)
class Heard:
    """A launcher with ranks has asked for news."""

    worker: int
    incarnation: str


@dataclass(frozen=True)
class Dropped:
    """The connection of a launcher broke: it asks again at once, or has died."""

    worker: int
    incarnation: str


@dataclass(frozen=True)
class Broken:
    """A rank of a worker has ended before its time."""

    generation: int
    worker: int
    why: str


@dataclass(frozen=True)
class Leaving:
    """A launcher ends for good."""

    worker: int
    incarnation: str
    why: str


@dataclass(frozen=True)
class Finished:
    """Rank 0 ended because the site has nothing left to do."""

    generation: int


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = Join | Heard | Dropped | Broken | Leaving | Finished | Tick


@dataclass(frozen=True)
class Member:
    """A launcher as the service sees it."""

    who: Worker
    heard: float
    waiting: bool


@dataclass(frozen=True)
class State:
    """Everything that is known of the ring."""

    rules: Rules
    members: Mapping[int, Member] = field(default_factory=dict)
    current: Generation | None = None
    number: int = 0  # of the last generation
    changed: float = 0.0  # when a worker came, went or ended its ranks
    regrouping: int = 0  # generation that shall end so that waiting workers get in
    breaks: int = 0
    why: str = ""  # the last generation's end
    gone: tuple[str, ...] = ()
    finished: bool = False
    failed: str = ""


@dataclass(frozen=True)
class Start:
    """Start ranks for this generation."""

    generation: Generation


@dataclass(frozen=True)
class Run:
    """The worker's generation goes on; `regroup`: rank 0 shall end it between two orders."""

    regroup: bool = False


@dataclass(frozen=True)
class Wait:
    """No generation with this worker: it ends its ranks and joins."""

    why: str = ""


@dataclass(frozen=True)
class Done:
    """The site has finished."""


@dataclass(frozen=True)
class Replaced:
    """Another pod has taken this worker's place, or it has left."""


@dataclass(frozen=True)
class Failed:
    """The ring breaks again and again: worker 0's pod ends, so that its failure is seen and counted once."""

    why: str


Answer = Start | Run | Wait | Done | Replaced | Failed


def step(state: State, event: Event, now: float) -> State:
    """The state after an event; time acts with every event."""
    if state.finished:
        return state
    return _form(_silent(_acted(state, event, now), now), now)


def _acted(state: State, event: Event, now: float) -> State:
    match event:
        case Join():
            return _join(state, event, now)
        case Heard() | Dropped():
            return _heard(state, event, now)
        case Broken():
            return _broken(state, event, now)
        case Leaving():
            return _leave(state, event, now)
        case Finished(generation):
            return replace(state, finished=0 < generation <= state.number)  # others may have told of later ones
        case Tick():
            return state
        case _:
            assert_never(event)


def answer(state: State, worker: int, incarnation: str, generation: int) -> Answer:
    """What to tell a launcher whose last generation is `generation`."""
    if state.finished:
        return Done()
    if incarnation in state.gone:
        return Replaced()
    if state.failed and worker == 0:
        return Failed(state.failed)
    current = state.current
    if current is None or not current.has(worker, incarnation) or current.number < generation:
        return Wait(state.why)
    if current.number > generation:
        return Start(current)
    return Run(worker == 0 and state.regrouping == current.number)


def _join(state: State, event: Join, now: float) -> State:
    who = event.who
    if who.incarnation in state.gone:
        return state
    state = replace(state, number=max(state.number, event.after))  # worker 0's launcher may be a new one
    known = state.members.get(who.worker)
    if known is not None and known.who.incarnation != who.incarnation:
        state = _part(state, who.worker, known.who.incarnation, f"worker {who.worker} was started again", now)
        known = None
    current = state.current
    if current is not None and current.has(who.worker, who.incarnation):
        if current.number > event.after:  # the answer was lost: it gets the same again
            return _with(state, Member(who, now, waiting=False))
        state = _end(state, f"worker {who.worker}: {event.why or 'its ranks ended'}", now, by_ranks=True)
    if known is None or not known.waiting:
        state = replace(state, changed=now)
    return _with(state, Member(who, now, waiting=True))


def _broken(state: State, event: Broken, now: float) -> State:
    if state.current is None or event.generation != state.current.number:
        return state
    return _end(state, f"worker {event.worker}: {event.why}", now, by_ranks=True)


def _leave(state: State, event: Leaving, now: float) -> State:
    if event.incarnation in state.gone:
        return state
    return _part(state, event.worker, event.incarnation, f"worker {event.worker} left: {event.why}", now)


def _heard(state: State, event: Heard | Dropped, now: float) -> State:
    known = state.members.get(event.worker)
    if known is None or known.who.incarnation != event.incarnation:
        return state
    soon = now - max(0.0, state.rules.silence_s - DROP_GRACE_S)
    return _with(state, replace(known, heard=now if isinstance(event, Heard) else min(known.heard, soon)))


def _with(state: State, member: Member) -> State:
    return replace(state, members={**state.members, member.who.worker: member})


def _silent(state: State, now: float) -> State:
    for member in state.members.values():
        if now - member.heard > state.rules.silence_s:
            who = member.who
            state = _lose(state, who.worker, who.incarnation, f"worker {who.worker} is silent", now)
    return state


def _lose(state: State, worker: int, incarnation: str, why: str, now: float) -> State:
    """A lost worker ends its generation; that is no fault of the ranks, whose breaks are counted anew."""
    current = state.current
    if current is not None and current.has(worker, incarnation):
        state = _end(state, why, now, by_ranks=False)
    known = state.members.get(worker)
    if known is None or known.who.incarnation != incarnation:
        return state
    left = {number: member for number, member in state.members.items() if number != worker}
    return replace(state, members=left, changed=now, breaks=0)


def _part(state: State, worker: int, incarnation: str, why: str, now: float) -> State:
    """Loses a worker whose launcher shall not come back."""
    state = _lose(state, worker, incarnation, why, now)
    return replace(state, gone=(*state.gone, incarnation)[-REMEMBERED:])


def _end(state: State, why: str, now: float, *, by_ranks: bool) -> State:
    current = state.current
    if current is None:
        return state
    asked = state.regrouping == current.number
    counts = by_ranks and not asked and now - current.since < state.rules.steady_s
    breaks = state.breaks + 1 if counts else 0
    failed = f"{breaks} generations in a row broke; the last: {why}" if breaks >= state.rules.most_breaks else ""
    why = "more workers have come" if asked else why
    return replace(state, current=None, changed=now, breaks=breaks, why=why, failed=state.failed or failed)


def _form(state: State, now: float) -> State:
    """A generation when it is time for one; while one runs, whether it shall make room for more workers."""
    if state.finished:
        return replace(state, current=None)
    waiting = {number for number, member in state.members.items() if member.waiting}
    if state.current is not None:
        inside = {member.worker for member in state.current.members}
        more = len(_slices(waiting | inside, state.rules)) > len(inside)
        if more and _time(state, len(waiting) + len(inside), now):
            return replace(state, regrouping=state.current.number)
        return state
    ready = _slices(waiting, state.rules)
    busy = any(not member.waiting for member in state.members.values())  # they end their ranks and come
    enough = 0 in ready and len(ready) >= state.rules.min_workers
    if state.failed or busy or not enough or not _time(state, len(ready), now):
        return state
    members = tuple(state.members[number].who for number in ready)
    started = {number: replace(state.members[number], waiting=False) for number in ready}
    number = state.number + 1
    return replace(state, number=number, current=Generation(number, members, now), members={**state.members, **started})


def _time(state: State, present: int, now: float) -> bool:
    return present >= state.rules.workers or now - state.changed >= state.rules.wait_s


def _slices(workers: set[int], rules: Rules) -> tuple[int, ...]:
    """Those workers whose whole slice is there, in order."""
    hosts = rules.slice_hosts
    return tuple(
        number for number in sorted(workers) if all(number // hosts * hosts + host in workers for host in range(hosts))
    )
