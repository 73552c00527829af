"""What a round that failed says, and what a site may call its metrics."""

import pytest

from fedaggregator.status import status
from fedcore.rounds import admission, machine
from fedcore.rounds.effects import WriteFailure
from fedcore.rounds.events import Accepted, Folded, Refused, SiteFailed, Ticked
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds.test_round_rules import B, accept, collecting, manifest, ref


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
    state, _ = machine.step(state, Refused(20.3, "a", "Malformed", "payloads are \x1b[2J"))
    told = next(client["message"] for client in status(state)["clients"] if client["name"] == "a")
    assert told == "Malformed: payloads are \\x1b[2J"


def test_words_of_a_site_have_an_end_wherever_they_are_kept():
    """As escapes they are six times as long as they were sent; ten thousand sites may say such."""
    state, effects = machine.step(
        collecting("ab", max_failures=0), SiteFailed(20.2, "b", 1, 1, "x" * 63, "\u202e" * 1024)
    )
    assert len(state.site("b").message) == 1024
    (failure,) = [effect.failure for effect in effects if isinstance(effect, WriteFailure)]
    assert len(failure.message) <= 1024
    state, _ = machine.step(collecting("abc", quorum=1), SiteFailed(20.2, "b", 1, 1, "x", "\u202e" * 1024))
    assert len(state.current.failed["b"]) == 1024


def test_no_site_lengthens_the_last_step_by_what_it_says_of_its_training():
    state = collecting("ab", rounds=1, deadline_s=3600.0)
    for client, training_s in (("a", 2.0), ("b", 1e100)):
        state, _ = machine.step(state, Accepted(20.0, manifest(state, client, training_s=training_s)))
    state, _ = machine.step(state, Folded(60.0, 1, 1, ref(B)))
    assert state.phase is Phase.EVALUATING
    assert state.closing.until == 60.0 + 2 * (60.0 - 10.0), "of what passed since the plan"
