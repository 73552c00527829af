"""Whether an order is still wanted is asked about trainings that last, and of one thread alone."""

import queue
import threading
from types import SimpleNamespace

import pytest

from fedapi.wire.site import Assignment
from fedtrainer.agent import watch as watch_module
from fedtrainer.agent.patience import RetryError
from fedtrainer.agent.watch import Watch
from fedtrainer.errors import RefusedError
from tests.waiting import PATIENCE_S, until

DROP, WAIT = Assignment(kind="Drop", message="quorum is reached"), Assignment(kind="Wait")


class Control:
    """Answers, or raises, what is planned; an event is waited for first."""

    def __init__(self, *answers):
        self.asked, self._answers = queue.Queue(), iter(answers)

    def peek(self, wait_s, doing):
        answer = next(self._answers)
        self.asked.put(doing)
        if isinstance(answer, threading.Event):
            assert answer.wait(PATIENCE_S)
            return DROP
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def own_thread(monkeypatch):
    monkeypatch.setattr(watch_module, "_thread", watch_module._Thread())
    monkeypatch.setattr(watch_module, "PAUSE_S", 0.0)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(watch_module, "FIRST_QUESTION_S", 0.0)


def watched(control, round_=1, alive=lambda: None):
    return Watch(control, SimpleNamespace(round=round_, attempt=1), alive)


@pytest.fixture
def threads(own_thread):
    """The threads that a test's watches have."""
    before = {*threading.enumerate()}
    return lambda: [each for each in threading.enumerate() if each.name == "watch" and each not in before]


def test_short_trainings_ask_nothing_and_share_a_thread(monkeypatch, threads):
    monkeypatch.setattr(watch_module, "FIRST_QUESTION_S", 60.0)
    control = Control()
    for round_ in range(50):
        with watched(control, round_) as watch:
            assert not watch.dropped()
    assert len(threads()) == 1
    assert control.asked.empty()


@pytest.mark.usefixtures("at_once")
def test_a_training_that_is_not_wanted_any_more_is_dropped():
    alive = threading.Event()
    control = Control(WAIT, RetryError("no answer"), DROP)
    with watched(control, alive=alive.set) as watch:
        until(watch.dropped)
        assert alive.is_set()
    assert [control.asked.get_nowait() for _ in range(3)] == [(1, 1)] * 3


@pytest.mark.usefixtures("at_once")
def test_what_the_main_thread_meets_too_ends_the_questions(threads):
    control = Control(RefusedError("another token"))
    with watched(control) as watch:
        control.asked.get(timeout=PATIENCE_S)
        until(lambda: not threads())
        assert not watch.dropped()


@pytest.mark.usefixtures("at_once")
def test_an_answer_about_an_order_before_drops_nothing_and_holds_nothing_up(threads):
    held = threading.Event()
    with watched(first := Control(held)) as before:
        first.asked.get(timeout=PATIENCE_S)
    with watched(Control(WAIT, DROP), 2) as after:
        until(after.dropped)
        held.set()
        until(lambda: not threads())
    assert not before.dropped()


@pytest.mark.usefixtures("at_once")
def test_nothing_is_said_of_what_is_answered_after_the_training(threads, caplog):
    asked, held = threading.Event(), threading.Event()

    def peek(_wait_s, _doing):
        asked.set()
        assert held.wait(PATIENCE_S)
        raise RefusedError("another token")

    with watched(SimpleNamespace(peek=peek)):
        assert asked.wait(PATIENCE_S)
    held.set()
    for thread in threads():
        thread.join(PATIENCE_S)
    assert caplog.records == []
