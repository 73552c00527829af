"""When a store is in trouble, what is told of it, and how long deadlines stand still."""

from dataclasses import replace

import pytest

from fedaggregator.engine.outage import Outage
from fedaggregator.errors import store_failed
from fedapi.outcome import Exit
from fedcore.rounds import closing
from fedcore.rounds.state import Closing, End
from fedstore.errors import (
    MissingError,
    StoreDeniedError,
    StoreFailedError,
    StoreFullError,
    UnfitStoreError,
    UnknownStoreError,
)
from tests.unit.fedcore.rounds.test_round_rules import collecting


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outage(clock):
    return Outage(clock)


def test_it_ends_with_a_success_after_which_all_is_quiet(outage, clock):
    assert (outage.text, outage.is_over()) == ("", False)
    outage.failed(StoreFailedError("HTTP 503"))
    assert outage.text == "the store cannot be written, it is tried again: HTTP 503"
    clock.now += 60  # a request that hangs is no success
    assert not outage.is_over()
    outage.worked()
    assert outage.is_over()
    assert (outage.text, outage.is_over()) == ("", False)


def test_one_that_comes_and_goes_is_one(outage, clock):
    for _ in range(5):
        outage.failed(StoreFullError("no room"))
        clock.now += 1
        outage.worked()  # small objects still fit
        clock.now += 5
        assert not outage.is_over()
    clock.now += 5
    assert outage.is_over()


def test_what_is_no_outage_is_none_and_denied_access_is_named(outage):
    outage.failed(MissingError("x"))
    assert outage.text == ""
    outage.failed(StoreDeniedError("AccessDenied"))
    assert outage.text == "the store denies access, it is tried again: AccessDenied"


def test_deadlines_stand_still_for_as_long_as_it_lasts(outage, clock):
    state = collecting()
    at = state.current.deadline_at
    assert closing.delayed(state, outage.lost_s()) is state
    outage.failed(StoreFailedError("x"))
    for _ in range(3):
        clock.now += 40
        state = closing.delayed(state, outage.lost_s())
    outage.worked()
    assert outage.is_over()
    clock.now += 1000
    assert closing.delayed(state, outage.lost_s()) is state
    assert state.current.deadline_at == at + 120


def test_grace_and_the_last_evaluation_stand_still_too():
    state = collecting()
    state = replace(state, current=replace(state.current, quorum_at=7.0))
    assert closing.delayed(state, 5.0).current.quorum_at == 12.0
    end = End("Succeeded", "Rounds", "", 1.0)
    last = replace(state, current=None, closing=Closing(frozenset("a"), 50.0, end))
    assert closing.delayed(last, 5.0).closing.until == 55.0


@pytest.mark.parametrize(
    ("error", "code", "way_out"),
    [
        (StoreDeniedError("AccessDenied"), Exit.STORE_DENIED, "look at its credentials"),
        (UnfitStoreError("no conditional writes"), Exit.STORE_UNFIT, "cannot be used: no conditional writes"),
        (StoreFullError("no room"), Exit.STORE_FAILED, "enlarge its volume or quota"),
        (StoreFailedError("HTTP 503"), Exit.STORE_FAILED, "the object store and the way to it"),
        (UnknownStoreError("ftp:"), Exit.BAD_SETTINGS, "the store: ftp:"),
    ],
)
def test_what_ends_the_process_says_what_to_look_at(error, code, way_out):
    ended = store_failed(error)
    assert ended.code is code
    assert way_out in str(ended)
