"""Several spans at the same time: results in order, rooms of one span each, files that are read in turn, and failures."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedaggregator.engine.spanwise import Turns, computed
from tests.waiting import PATIENCE_S


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as pool:
        yield pool


def test_results_come_in_order_though_later_ones_are_done_first(threads):
    def work(index, _room):
        time.sleep(0.01 if index % 3 == 0 else 0)
        return index

    assert list(computed(20, work, range(4), threads)) == list(range(20))


def test_a_room_is_one_spans_until_the_next_result_is_asked_for(threads):
    rooms = [[None] for _ in range(4)]

    def work(index, room):
        room[0] = index
        return room

    for index, room in enumerate(computed(50, work, rooms, threads)):
        time.sleep(0.001)
        assert room[0] == index


def test_all_threads_are_used(threads):
    together = threading.Barrier(3, timeout=PATIENCE_S)
    assert len(list(computed(6, lambda _i, _r: together.wait(), range(3), threads))) == 6


@pytest.mark.parametrize("closed", [False, True])
def test_a_failure_or_a_close_ends_what_is_under_way_and_nothing_waits_for_ever(threads, closed):
    turns, begun = Turns(), []

    def work(index, _room):
        try:
            begun.append(index)
            if index == 4 and not closed:
                raise ValueError("damaged")
            turns.wait(index)
            return index
        finally:
            turns.done(index)

    results = computed(1000, work, range(4), threads)
    if closed:
        assert next(results) == 0
        results.close()
    else:
        with pytest.raises(ValueError, match="damaged"):
            list(results)
    assert len(begun) < 20
    assert threads.submit(lambda: 1).result(PATIENCE_S) == 1


def test_a_file_is_read_from_its_beginning_to_its_end_by_whichever_thread(threads):
    turns, read = Turns(), []

    def work(index, _room):
        time.sleep(0.001 * (index % 4))
        if index % 5:  # of the others it is not needed
            turns.wait(index)
            read.append(index)
        turns.done(index)

    list(computed(60, work, range(4), threads))
    assert read == [index for index in range(60) if index % 5]


def test_done_may_be_said_again_and_out_of_order():
    turns = Turns()
    for index in (2, 0, 0, 1, 2):
        turns.done(index)
    turns.wait(3)
