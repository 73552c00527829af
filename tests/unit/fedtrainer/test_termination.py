"""SIGTERM at once, deferred or overdue; SIGUSR1; and the reason that a process leaves."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time

import pytest

from fedapi import names
from fedtrainer import termination
from fedtrainer.errors import RingBrokenError, Terminated


@pytest.fixture(autouse=True)
def handlers():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    termination.install()
    yield
    termination.install()  # forgets what has arrived
    for number, handler in before.items():
        signal.signal(number, handler)


def raise_signal(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs between two byte codes


def test_outside_a_block_it_ends_the_process_at_once_and_once():
    with pytest.raises(Terminated) as raised:
        raise_signal(signal.SIGTERM)
    assert raised.value.number == signal.SIGTERM
    assert termination.wanted()
    raise_signal(signal.SIGTERM)


@termination.deferred()
def nested(reached: list[bool]) -> None:
    with termination.deferred():
        raise_signal(signal.SIGINT)
    reached.append(termination.wanted())


@termination.deferred()
def told_by_others() -> None:
    raise_signal(signal.SIGTERM)
    raise RingBrokenError("told by the others")


@termination.deferred()
def deaf() -> None:
    raise_signal(signal.SIGTERM)
    time.sleep(30)


def test_inside_a_block_it_is_a_flag_until_the_block_is_left():
    reached: list[bool] = []
    with pytest.raises(Terminated):
        nested(reached)
    assert reached == [True]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_a_block_raises_is_kept():
    with pytest.raises(RingBrokenError):
        told_by_others()


def test_who_never_acts_is_ended_by_the_clock(monkeypatch):
    monkeypatch.setattr(termination, "LATEST_S", 0.05)
    with pytest.raises(Terminated):
        deaf()


def test_a_wish_to_regroup_is_kept():
    assert not termination.regroup_wanted()
    raise_signal(signal.SIGUSR1)
    assert termination.regroup_wanted()
    assert not termination.wanted()


def test_the_reason_is_one_bounded_line(tmp_path, monkeypatch):
    monkeypatch.setenv(names.ENV_TERMINATION_LOG, str(tmp_path / "log"))
    termination.leave_reason(termination.one_line("a\n b" * 1000))
    text = (tmp_path / "log").read_text()
    assert text.startswith("a ba b")
    assert (len(text), text.count("\n")) == (1001, 1)


@termination.deferred()
def told_child(what: str) -> int:
    """How a child that waits, forked inside a training, ends when it gets SIGTERM."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(told, b".")
            time.sleep(60)
        finally:
            os._exit(1)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    os.kill(pid, getattr(signal, what))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_ends_by_the_signal_itself():
    assert [told_child(what) for what in ("SIGTERM", "SIGUSR1")] == [-signal.SIGTERM, -signal.SIGUSR1]
    assert told_child("SIGINT") == 1, "KeyboardInterrupt, as in any program"
    assert not termination.wanted()


@pytest.mark.parametrize("inside", [True, False])
def test_a_child_that_is_told_as_soon_as_there_is_one_ends(inside):
    """Python drops a signal that it gets before it has set the child up."""
    with termination.deferred() if inside else contextlib.nullcontext():
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                try:
                    time.sleep(60)
                finally:
                    os._exit(1)
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def held_back() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    assert not termination.wanted(), "it is blocked in the thread that forks"


def taken_by_another_thread() -> None:
    termination._terminate(signal.SIGTERM, None)
    assert termination.wanted()


@pytest.mark.parametrize("come", [held_back, taken_by_another_thread])
def test_what_comes_while_it_forks_ends_the_process_soon_after(come):
    """Nothing may be raised before the fork is over: Python would print it, and go on."""
    termination._hold()
    come()
    termination._let_go()
    with pytest.raises(Terminated):
        time.sleep(60)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def square(number: int) -> int:
    return number * number


def test_a_pool_in_a_training_ends_at_once():
    with termination.deferred(), multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
        workers = list(pool._pool)
        pool.map_async(time.sleep, [60] * 2)
    for worker in workers:
        worker.join()
    ends = {worker.exitcode for worker in workers}
    assert ends <= {0, -signal.SIGTERM}, "told, or by the signal: not by the clock of a deferred end"
