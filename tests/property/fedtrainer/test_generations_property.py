"""Whatever the order of events: the law of generations.py holds, and workers that keep coming get their ring."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrainer.launch import generations as g
from fedtrainer.launch.slots import slots
from fedtrainer.settings import TrainerSettings


@st.composite
def pools(draw) -> g.Rules:
    hosts = draw(st.sampled_from([1, 1, 2]))
    workers = hosts * draw(st.integers(1, 3))
    return g.Rules(
        workers=workers,
        min_workers=workers if hosts > 1 else draw(st.integers(1, workers)),
        slots=draw(st.integers(1, 3)),
        slice_hosts=hosts,
        wait_s=draw(st.sampled_from([0.0, 5.0, 60.0])),
        steady_s=draw(st.sampled_from([1.0, 600.0])),
    )


LIVES = st.integers(0, 2)
WORKERS = st.integers(0, 5)
EVENTS = st.one_of(
    st.tuples(st.just("join"), WORKERS, LIVES),
    st.tuples(st.just("heard"), WORKERS, LIVES),
    st.tuples(st.sampled_from(["dropped", "leaving", "broken", "finished", "tick"]), WORKERS, LIVES),
)
HISTORIES = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 0.0, 1.0, 4.0, 20.0])), max_size=60)


def event(state: g.State, kind: str, worker: int, life: int, last: dict[str, int]) -> g.Event:
    name = f"{worker}-{life}"
    return {
        "join": g.Join(g.Worker(worker, name, "10.0.0.1", 1, 2), last.get(name, 0), "why"),
        "heard": g.Heard(worker, name),
        "dropped": g.Dropped(worker, name),
        "leaving": g.Leaving(worker, name, "why"),
        "broken": g.Broken(max(0, state.number - life), worker, "why"),
        "finished": g.Finished(state.number if worker == 5 else state.number + 1),
        "tick": g.Tick(),
    }[kind]


def lawful(before: g.State, state: g.State, seen: dict[int, g.Generation]) -> None:
    assert state.number >= before.number
    if before.finished:
        assert state is before
    current = state.current
    if current is None:
        return
    assert not state.finished
    assert current.number == state.number
    assert seen.setdefault(current.number, current) == current, "one number, one generation"
    numbers = [member.worker for member in current.members]
    rules = state.rules
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert rules.min_workers <= len(numbers) <= rules.workers
    assert {n // rules.slice_hosts * rules.slice_hosts + h for n in numbers for h in range(rules.slice_hosts)} == set(
        numbers
    )
    told = [
        w for w in state.members.values() if isinstance(g.answer(state, w.who.worker, w.who.incarnation, 0), g.Start)
    ]
    assert {member.who for member in told} == set(current.members), "its members, and nobody else, are told to start"


def ranks(generation: g.Generation, rules: g.Rules) -> list[int]:
    given_ = {"job": "j", "job_uid": "u", "client": "c", "aggregator_url": "https://a", "entrypoint": "a:b"}
    found = []
    for member in generation.members:
        values = TrainerSettings(
            **given_, ring_workers=rules.workers, ring_slots=rules.slots, completion_index=member.worker
        )
        found += [slot.rank for slot in slots(generation, values)]
    return found


@settings(max_examples=300)
@given(pools(), HISTORIES)
def test_the_law_holds_and_a_ring_comes_about(rules, history):
    state, now, seen, last = g.State(rules), 0.0, {}, {}
    for (kind, worker, life), pause in history:
        now += pause
        before, state = state, g.step(state, event(state, kind, worker % rules.workers, life, last), now)
        lawful(before, state, seen)
        for member in state.current.members if state.current else ():
            last[member.incarnation] = state.number
    for generation in seen.values():
        assert ranks(generation, rules) == list(range(len(generation.members) * rules.slots))
    if not state.finished and not state.failed:
        formed(state, now, seen)


def formed(state: g.State, now: float, seen: dict[int, g.Generation]) -> None:
    """Liveness: new pods of all workers that do as they are told have one generation of all of them."""
    last = dict.fromkeys(range(state.rules.workers), 0)
    for _ in range(4):
        for worker in last:
            told = g.answer(state, worker, f"new{worker}", last[worker])
            who = g.Worker(worker, f"new{worker}", "10.0.0.1", 1, 2)
            if isinstance(told, g.Start):
                last[worker] = told.generation.number
            joins = isinstance(told, g.Wait) or told == g.Run(regroup=True)
            done = g.Join(who, last[worker], "why") if joins else g.Heard(worker, who.incarnation)
            before, state = state, g.step(state, done, now)
            lawful(before, state, seen)
    assert state.current is not None
    assert [member.incarnation for member in state.current.members] == [f"new{w}" for w in last]
