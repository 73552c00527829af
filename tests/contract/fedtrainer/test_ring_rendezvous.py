"""The rendezvous: order, signatures, a rank 0 that is not there."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from fedapi.outcome import Exit
from fedtrainer.errors import RingBrokenError, Terminated
from fedtrainer.ring.rendezvous import Rendezvous, ring_key
from fedtrainer.ring.slot import Slot
from tests.contract.fedtrainer.group import HERE, free_port
from tests.waiting import until

KEY = ring_key("token")


@pytest.fixture
def slots():
    first = Slot(generation=4, size=2, addresses=(HERE, HERE), store_port=free_port(), timeout_s=60)
    return first, replace(first, rank=1, worker=1)


@pytest.fixture
def opened():
    """Opens rendezvous that are closed afterwards, rank 0's last."""
    made = []

    def open_(slot, key=KEY):
        made.append(Rendezvous.open(slot, key, patience_s=60))
        return made[-1]

    yield open_
    for rendezvous in reversed(made):
        rendezvous.close()


def test_messages_arrive_in_order_and_are_forgotten_when_all_have_heard(slots, opened):
    first, second = (opened(slot) for slot in slots)
    told = ["one", "", "drei ß", '{"round": 4}']
    for text in told:
        first.tell(text)
    assert [second.hear() for _ in told] == told
    until(lambda: first.store.add("heard 4", 0) == 1)
    first.tell("last")
    assert second.hear() == "last"
    assert not any(first.store.check([f"order {number}"]) for number in (1, 2, 3, 4))
    assert first.store.check(["order 5"])


def test_a_message_that_was_heard_late_is_forgotten_with_a_later_one(slots, opened):
    first, second = (opened(slot) for slot in slots)
    first.tell("one")
    first.tell("two")
    assert [second.hear() for _ in range(2)] == ["one", "two"]
    until(lambda: first.store.add("heard 2", 0) == 1)
    first.tell("three")
    assert not any(first.store.check([f"order {number}"]) for number in (1, 2))


def test_a_message_without_the_sites_key_is_refused(slots, opened):
    first, second = opened(slots[0], ring_key("another")), opened(slots[1])
    first.tell("obey")
    with pytest.raises(RingBrokenError, match=r"rank 1 of 2 .* reading 'order 1' .*wrong signature"):
        second.hear()


def test_a_message_cannot_be_moved_to_another_place(slots, opened):
    first, second = (opened(slot) for slot in slots)
    first.put("order 2", "later")
    first.store.set("order 1", first.store.get("order 2"))
    with pytest.raises(RingBrokenError, match="wrong signature"):
        second.hear()


def test_messages_end_with_rank_0(slots, opened):
    first, second = (opened(slot) for slot in slots)
    first.tell("one")
    assert second.hear() == "one"
    first.close()
    with pytest.raises(RingBrokenError, match="hearing rank 0"):
        second.hear()


def test_a_rank_0_that_is_not_there_is_named(slots):
    with pytest.raises(
        RingBrokenError, match=rf"reaching rank 0 at 127\.0\.0\.1 port {slots[1].store_port} within 1 s"
    ):
        Rendezvous.open(slots[1], KEY, patience_s=1)


def test_a_signal_ends_the_wait_for_rank_0(slots):
    """A pod that is to go while rank 0 still waits for the aggregator."""

    def end(number, _frame):
        raise Terminated(number)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Terminated):
            Rendezvous.open(slots[1], KEY, patience_s=600)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_thread_of_a_library_that_throws_ends_the_rank_as_one_of_a_broken_ring():
    program = (
        "import ctypes; from fedtrainer.ring.faults import end_softly; from fedtrainer.ring.slot import Slot;"
        "end_softly(Slot(), 'NCCL'); ctypes.CDLL('libstdc++.so.6')['_ZSt9terminatev']()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == Exit.RING_BROKEN, ended.stderr
    assert ended.stderr == "rank 0 of 1 (127.0.0.1), generation 0: NCCL failed: its thread ended: a peer went away\n"


def test_a_text_that_nobody_leaves_is_waited_for_only_so_long(slots, opened):
    rendezvous = opened(replace(slots[0], timeout_s=0.5))
    with pytest.raises(RingBrokenError, match=r"waiting for 'port' .*failed"):
        rendezvous.get("port")
