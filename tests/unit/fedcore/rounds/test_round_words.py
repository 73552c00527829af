"""What a round that failed says, and what a site may call its metrics."""

import pytest

from fedaggregator.status import status
from fedcore.rounds import admission, machine
from fedcore.rounds.events import SiteFailed, Ticked
from tests.unit.fedcore.rounds.test_round_rules import accept, collecting, manifest


def test_a_round_closed_early_says_that_quorum_was_out_of_reach_and_who_failed():
    state, _ = accept(collecting("abc", max_failures=0), "a")
    state, _ = machine.step(state, SiteFailed(20.2, "b", 1, 1, "TaskFailed", "boom"))
    said = state.end.message
    assert "round 1 was closed early, because quorum was out of reach: it had 1 of 3 updates, 3 were needed" in said
    assert "b: TaskFailed: boom" in said
    assert "c: was not waited for" in said
    assert "deadline" not in said


def test_a_round_closed_at_its_deadline_says_so():
    state, _ = accept(collecting("ab", max_failures=0), "a")
    state, _ = machine.step(state, Ticked(110.0))
    assert "round 1 had 1 of 2 updates, 2 were needed (b: no update before the deadline)" in state.end.message


@pytest.mark.parametrize("name", ["", " ", "a\x1b[2J", "a\n", "\u202eycarucca"])
def test_a_metric_without_a_readable_name_is_refused(name):
    state = collecting()
    refusal = admission.update(state, "a", manifest(state, "a", metrics={name: 0.5}))
    assert (refusal.code, "metric name" in refusal.message) == ("Malformed", True)


def test_trouble_of_the_store_is_in_the_status_while_the_job_runs():
    state = collecting()
    assert status(state, "no space left")["trouble"] == "no space left"
    assert "trouble" not in status(state)
    ended, _ = machine.step(collecting(max_failures=0), Ticked(110.0))
    assert "trouble" not in status(ended, "no space left")


def test_words_of_a_site_cannot_drive_the_terminal_of_whoever_prints_the_status():
    state, _ = machine.step(collecting("ab"), SiteFailed(20.2, "b", 1, 1, "TaskFailed", "bo\x1b[2Jom\nat \u202ework"))
    told = next(client["message"] for client in status(state)["clients"] if client["name"] == "b")
    assert told == "TaskFailed: bo\\x1b[2Jom\nat \\u202ework"
