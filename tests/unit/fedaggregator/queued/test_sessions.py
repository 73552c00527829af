"""A request is taken once, in a session that was offered to its site."""

from hypothesis import given
from hypothesis import strategies as st

from fedaggregator.queued.sessions import SESSIONS, WINDOW, Sessions, Verdict

KEY = bytes(32)


def test_each_number_of_a_session_is_taken_once_in_whatever_order():
    sessions = Sessions(KEY)
    session = sessions.offered("berlin")
    numbers = [1, 3, 2, 3, 1, 7, 2]
    found = [sessions.verdict("berlin", session, number) for number in numbers]
    assert found == [Verdict.FRESH] * 3 + [Verdict.TAKEN] * 2 + [Verdict.FRESH, Verdict.TAKEN]


def test_what_was_not_offered_to_that_site_by_this_process_is_unknown():
    sessions = Sessions(KEY)
    session = sessions.offered("berlin")
    assert sessions.verdict("paris", session, 1) is Verdict.UNKNOWN
    assert Sessions(bytes(31) + b"\1").verdict("berlin", session, 1) is Verdict.UNKNOWN
    for made_up in ("", ".", "1", "1.", f"2.{session.partition('.')[2]}", "x.y", "9" * 40 + ".aa", "²." + "a" * 64):
        assert sessions.verdict("berlin", made_up, 1) is Verdict.UNKNOWN
    assert sessions.verdict("berlin", session, 1) is Verdict.FRESH


def test_offers_that_nobody_uses_end_no_session():
    sessions = Sessions(KEY)
    session = sessions.offered("berlin")
    assert sessions.verdict("berlin", session, 1) is Verdict.FRESH
    for _ in range(1000):
        sessions.offered("berlin")
    assert sessions.verdict("berlin", session, 1) is Verdict.TAKEN
    assert sessions.verdict("berlin", session, 2) is Verdict.FRESH


def test_the_oldest_of_many_sessions_ends_and_stays_ended():
    sessions = Sessions(KEY)
    used = [sessions.offered("berlin") for _ in range(SESSIONS + 1)]
    for session in used:
        assert sessions.verdict("berlin", session, 1) is Verdict.FRESH
    assert sessions.verdict("berlin", used[0], 1) is Verdict.UNKNOWN, "a replay is not fresh again"
    assert sessions.verdict("berlin", used[1], 1) is Verdict.TAKEN


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=200))
def test_no_number_is_fresh_twice_and_those_within_the_window_are_once(numbers):
    sessions = Sessions(KEY)
    session, taken, highest = sessions.offered("berlin"), set(), 0
    for number in numbers:
        verdict = sessions.verdict("berlin", session, number)
        if number in taken:
            assert verdict is Verdict.TAKEN
        elif number > highest - WINDOW:
            assert verdict is Verdict.FRESH
            taken.add(number)
        highest = max(highest, number) if verdict is Verdict.FRESH else highest
