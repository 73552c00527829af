"""The work queue: what is handed out, when, and to how many at once."""

import threading

import pytest

from fedoperator.queueing import BACKOFF_FIRST_S, BACKOFF_MOST_S, WorkKey, WorkQueue
from tests.waiting import PATIENCE_S

A, B = WorkKey("ns", "FederatedJob", "a"), WorkKey("ns", "FederatedJob", "b")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    queue = WorkQueue(clock)
    queue.open()
    return queue


def due(queue):
    """Everything that can be handed out now, without waiting."""
    keys = []
    while queue.depth():
        keys.append(queue.get())
    return keys


def test_many_events_are_one_look(queue):
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    assert due(queue) == [A, B]


def test_the_earliest_time_counts(queue, clock):
    queue.add(A, 300)
    queue.add(A, 10)
    queue.add(A, 20)
    assert due(queue) == []
    clock.now += 10
    assert due(queue) == [A]
    queue.done(A)
    clock.now += 1000
    assert due(queue) == [], "superseded times are forgotten"


def test_a_key_is_never_worked_on_twice_at_once(queue):
    queue.add(A)
    assert queue.get() == A
    queue.add(A)
    queue.add(B)
    assert due(queue) == [B]
    queue.done(A)
    assert due(queue) == [A], "what was added meanwhile is looked at once more"


def test_back_off_doubles_up_to_a_limit_and_success_resets_it(queue):
    delays = [queue.add_failed(A) for _ in range(20)]
    assert delays[:3] == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 4 * BACKOFF_FIRST_S]
    assert delays[-1] == BACKOFF_MOST_S
    assert queue.add_failed(B, at_least_s=7) == 7
    queue.succeeded(A)
    assert queue.add_failed(A) == BACKOFF_FIRST_S


def test_nothing_is_handed_out_before_the_lists_are_in(clock):
    queue, got = WorkQueue(clock), []
    queue.add(A)
    worker = threading.Thread(target=lambda: got.append(queue.get()))
    worker.start()
    worker.join(0.05)
    assert got == []
    queue.open()
    worker.join(PATIENCE_S)
    assert got == [A]


def test_shutting_wakes_those_who_wait(queue):
    got = []
    workers = [threading.Thread(target=lambda: got.append(queue.get())) for _ in range(3)]
    for worker in workers:
        worker.start()
    queue.shut()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert got == [None] * 3


def test_memory_does_not_grow_with_superseded_times(queue, clock):
    for _ in range(1000):
        queue.add(A)
        assert queue.get() == A
        queue.add(A, 300)
        queue.done(A)
    assert len(queue._heap) < 100
    clock.now += 300
    assert due(queue) == [A]


def test_every_added_key_is_worked_on_by_threads_that_share_the_queue():
    queue, seen, lock, busy = WorkQueue(), [], threading.Lock(), set()
    queue.open()
    keys = [WorkKey("ns", "FederatedJob", str(n)) for n in range(50)]

    def work():
        while (key := queue.get()) is not None:
            with lock:
                assert key not in busy
                busy.add(key)
                seen.append(key)
                if len(set(seen)) == len(keys):
                    queue.shut()
            with lock:
                busy.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for key in keys * 3:
        queue.add(key)
    for worker in workers:
        worker.join(PATIENCE_S)
    assert set(seen) == set(keys)
