"""The membership of a ring, event by event; and the slots and environments that come out of it."""

from dataclasses import replace

import pytest

from fedtrainer.errors import BadSettingsError
from fedtrainer.launch import generations as g
from fedtrainer.launch.messages import News
from fedtrainer.launch.slots import environment, slots
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import TrainerSettings

TWO = g.Rules(workers=2, min_workers=2, wait_s=60)
ELASTIC = replace(TWO, workers=3, min_workers=1)


def who(worker: int, life: str = "a") -> g.Worker:
    return g.Worker(worker, f"{worker}{life}", f"10.0.0.{worker}", 4000 + worker, 5000)


def join(worker: int, after: int = 0, life: str = "a", why: str = "") -> g.Join:
    return g.Join(who(worker, life), after, why)


def after(rules: g.Rules, *events: tuple[float, g.Event]) -> g.State:
    state = g.State(rules)
    for now, event in events:
        state = g.step(state, event, now)
    return state


def members(state: g.State) -> list[int] | None:
    return [member.worker for member in state.current.members] if state.current else None


BOTH = ((0, join(0)), (1, join(1)))
HEARD = [(t, g.Heard(0, "0a")) for t in range(5, 60, 5)]


@pytest.mark.parametrize(
    ("rules", "events", "number", "workers"),
    [
        (TWO, BOTH, 1, [0, 1]),
        (TWO, ((0, join(1)),), 0, None),
        (TWO, ((0, join(0)), *HEARD, (59, g.Tick())), 0, None),
        (ELASTIC, ((0, join(0)), *HEARD, (59, g.Tick())), 0, None),
        (ELASTIC, ((0, join(0)), *HEARD, (60, g.Tick())), 1, [0]),
        (replace(ELASTIC, wait_s=0), ((0, join(1)), (1, join(2))), 0, None),  # worker 0 is needed
        (replace(TWO, min_workers=1), ((0, join(0)), *HEARD, (50, join(1))), 1, [0, 1]),
        (TWO, (*BOTH, (2, join(0, after=0))), 1, [0, 1]),  # the answer was lost
        (TWO, (*BOTH, (2, join(0, after=1))), 1, None),  # its ranks have ended
        (TWO, (*BOTH, (2, join(0, after=1)), (3, join(1, after=1))), 2, [0, 1]),
        (TWO, (*BOTH, (2, g.Broken(1, 1, "x")), (3, join(0, 1)), (4, join(1, 1))), 2, [0, 1]),
        (TWO, (*BOTH, (2, g.Broken(7, 1, "stale"))), 1, [0, 1]),
        (TWO, (*BOTH, (2, g.Leaving(1, "1a", "x"))), 1, None),
        (TWO, (*BOTH, (2, g.Leaving(1, "1z", "another"))), 1, [0, 1]),
        (TWO, (*BOTH, (10, g.Heard(0, "0a")), (17, g.Tick())), 1, None),  # worker 1 is silent
        (TWO, (*BOTH, (2, g.Dropped(1, "1a")), (4, g.Heard(1, "1a")), (10, g.Tick())), 1, [0, 1]),
        (TWO, (*BOTH, (2, g.Dropped(1, "1a")), (6, g.Tick())), 1, None),
        (TWO, (*BOTH, (2, join(1, life="b"))), 1, None),  # a new pod
        (TWO, (*BOTH, (2, join(1, life="b")), (3, join(1)), (4, join(0, 1))), 2, [0, 1]),
        (TWO, ((0, join(0)), (1, join(1, after=7))), 8, [0, 1]),  # worker 0's launcher is a new one
        (replace(ELASTIC, workers=4, slice_hosts=2, wait_s=0), ((0, join(0)), (1, join(2)), (2, join(1))), 1, [0, 1]),
        (replace(ELASTIC, wait_s=0), ((0, join(0)), (1, join(2)), (2, join(0, 1))), 2, [0, 2]),
    ],
)
def test_events_make_generations(rules, events, number, workers):
    state = after(rules, *events)
    assert (state.number, members(state)) == (number, workers)


def test_a_busy_worker_is_waited_for_by_a_smaller_ring():
    rules = replace(ELASTIC, workers=2, wait_s=1)
    state = after(rules, *BOTH, (2, g.Broken(1, 0, "x")), (3, join(0, 1)), (9, g.Tick()))
    assert members(state) is None, "worker 1 still ends its ranks"
    assert members(g.step(state, join(1, 1), 10)) == [0, 1]
    assert members(g.step(state, g.Leaving(1, "1a", "x"), 10)) is None
    assert members(g.step(g.step(state, g.Leaving(1, "1a", "x"), 10), g.Tick(), 11)) == [0]


def test_workers_that_come_late_are_taken_in():
    rules = replace(ELASTIC, wait_s=5)
    state = after(rules, (0, join(0)), (5, g.Tick()), (6, join(1)))
    assert g.answer(state, 0, "0a", 1) == g.Run()
    more = g.step(g.step(state, g.Heard(0, "0a"), 11), g.Heard(1, "1a"), 11)
    full = g.step(state, join(2), 7)
    for state in (more, full):
        assert g.answer(state, 0, "0a", 1) == g.Run(regroup=True)
        assert g.answer(state, 1, "1a", 0) == g.Wait("")
    state = g.step(full, join(0, after=1, why="regroup"), 8)
    assert members(state) == [0, 1, 2]
    assert state.breaks == 0


def test_ranks_that_break_five_times_end_the_pod_of_worker_0_alone():
    state = after(TWO, *BOTH)
    for number in range(1, 6):
        assert state.current is not None
        assert state.current.number == number
        state = g.step(state, join(0, number, why="no route"), 10.0 * number)
        state = g.step(state, join(1, number), 10.0 * number)
    assert g.answer(state, 0, "0a", 5) == g.Failed("5 generations in a row broke; the last: worker 0: no route")
    assert isinstance(g.answer(state, 1, "1a", 5), g.Wait)
    assert members(state) is None
    lost = after(TWO, *BOTH)
    for number in range(1, 9):  # a worker is lost each time: nothing is counted
        lost = g.step(lost, join(0, number), 10.0 * number)
        lost = g.step(lost, join(1, number, life=str(number)), 10.0 * number)
    assert lost.number == 9
    assert members(lost) == [0, 1]


def test_finished_is_told_to_everybody_and_to_those_who_come_later():
    state = after(TWO, *BOTH, (2, g.Broken(1, 1, "ended before rank 0")), (3, g.Finished(1)))
    for worker, life, last in ((0, "0a", 1), (1, "1a", 1), (1, "1b", 0)):
        assert g.answer(state, worker, life, last) == g.Done()
    assert not after(TWO, *BOTH, (3, g.Finished(4))).finished
    alone = after(replace(ELASTIC, wait_s=0), (0, join(0)), (1, join(1, after=7)), (2, g.Finished(1)))
    assert alone.finished, "a new worker 0 began before it heard of generation 7"


def test_a_replaced_launcher_is_told_so():
    state = after(TWO, *BOTH, (2, join(1, life="b")))
    assert g.answer(state, 1, "1a", 1) == g.Replaced()
    assert isinstance(g.answer(state, 1, "1b", 0), g.Wait)


@pytest.mark.parametrize(
    "answer",
    [
        g.Start(g.Generation(3, (who(0), who(2)))),
        g.Run(),
        g.Run(regroup=True),
        g.Wait("worker 1 left"),
        g.Done(),
        g.Replaced(),
        g.Failed("again"),
    ],
)
def test_answers_travel(answer):
    assert News.model_validate_json(News.of(answer).model_dump_json()).value() == answer


def settings(**values) -> TrainerSettings:
    given = {"job": "j", "job_uid": "u", "client": "c", "aggregator_url": "https://a", "entrypoint": "a:b"}
    return TrainerSettings(**given, **values)


def test_seats_are_numbered_worker_by_worker():
    generation = g.Generation(4, (who(0), who(2)))
    found = slots(generation, settings(ring_workers=3, ring_slots=2, completion_index=2, ring_timeout_s=9))
    assert [(s.rank, s.size, s.local_rank, s.local_size, s.worker, s.position) for s in found] == [
        (2, 4, 0, 2, 2, 1),
        (3, 4, 1, 2, 2, 1),
    ]
    assert found[0].addresses == ("10.0.0.0", "10.0.0.2")
    assert (found[0].generation, found[0].store_port, found[0].timeout_s) == (4, 5000, 9)
    assert [Slot.read(slot.environment()) for slot in found] == list(found)


GPU = Slot(accelerator="GPU", local_rank=1, local_size=2)
TPU = Slot(
    accelerator="TPU",
    rank=3,
    size=4,
    worker=5,
    slice_hosts=2,
    addresses=("10.0.0.0", "10.0.0.1", "10.0.0.4", "10.0.0.5"),
)


@pytest.mark.parametrize(
    ("slot", "pod", "expected"),
    [
        (Slot(), {}, {"OMP_NUM_THREADS": "3"}),
        (GPU, {"NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2"}, {"OMP_NUM_THREADS": "3"}),
        (GPU, {"NVIDIA_VISIBLE_DEVICES": "MIG-1,MIG-2"}, {"CUDA_VISIBLE_DEVICES": "MIG-2"}),
        (TPU, {}, {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "10.0.0.4,10.0.0.5"}),
        (Slot(accelerator="TPU"), {}, {"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "127.0.0.1"}),
    ],
)
def test_environment_of_a_rank(slot, pod, expected):
    found = environment(slot, 3, pod)
    assert expected.items() <= found.items()
    assert ("CUDA_VISIBLE_DEVICES" in found) is ("CUDA_VISIBLE_DEVICES" in expected)
    assert slot.environment().items() <= found.items()


def test_too_few_mig_devices_are_bad_settings():
    with pytest.raises(BadSettingsError, match="FEDLOOM_RING_SLOTS is 2, but the pod has 1 MIG"):
        environment(GPU, 1, {"NVIDIA_VISIBLE_DEVICES": "MIG-1"})


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"JOB_COMPLETION_INDEX": "2", "FEDLOOM_RING_WORKERS": "2"}, "JOB_COMPLETION_INDEX .* worker 2"),
        ({"FEDLOOM_RING_SLICE": "1", "FEDLOOM_RING_WORKERS": "1"}, "FEDLOOM_RING_SLICE make this worker 1"),
        ({"FEDLOOM_RING_WORKERS": "3", "FEDLOOM_RING_SLICE_HOSTS": "2"}, "FEDLOOM_RING_SLICE_HOSTS"),
        ({"FEDLOOM_RING_WORKERS": "2", "FEDLOOM_RING_MIN_WORKERS": "3"}, "FEDLOOM_RING_MIN_WORKERS is above"),
        ({"FEDLOOM_RING_WORKERS": "none"}, "FEDLOOM_RING_WORKERS"),
        ({"FEDLOOM_RING_ADDRESS": "host"}, "FEDLOOM_RING_ADDRESS"),
        ({"FEDLOOM_RING_PORT": "0"}, "FEDLOOM_RING_PORT"),
        ({"FEDLOOM_ACCELERATOR": "QPU"}, "FEDLOOM_ACCELERATOR"),
    ],
)
def test_settings_of_a_ring_that_cannot_be(monkeypatch, env, words):
    base = {"JOB": "j", "JOB_UID": "u", "CLIENT": "c", "AGGREGATOR_URL": "https://a", "ENTRYPOINT": "a:b"}
    for name, value in {**{f"FEDLOOM_{key}": value for key, value in base.items()}, **env}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingsError, match=words):
        TrainerSettings.read()


def test_a_worker_of_the_second_slice(monkeypatch):
    values = settings(ring_workers=4, ring_slice_hosts=2, ring_slice=1, completion_index=1, ring_slots=1)
    assert (values.worker, values.ranks) == (3, 4)
    assert (values.alone().size, values.alone().accelerator) == (1, "CPU")
