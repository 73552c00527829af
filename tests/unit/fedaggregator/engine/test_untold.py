"""What a process could not tell any more is told by the next one: each once, and what a repair made anew as well."""

from dataclasses import replace

import pytest

from fedaggregator.engine import untold
from fedaggregator.engine.ledger import Ledger
from fedapi.wire.layout import Layout
from fedapi.wire.store import FailureRecord
from fedcore.ledger.entries import Entry
from fedcore.rounds.state import End
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds import masked_round
from tests.unit.fedcore.rounds import test_round_rules as rules

LAYOUT = Layout("ns", "job", "uid")
FAILURE = FailureRecord(job_uid="uid", round=1, attempt=1, reason="QuorumNotReached", message="m", at=3.0)


def state(**values):
    made, _ = rules.accept(rules.collecting("ab"), "a")
    return replace(made, void=(FAILURE,), end=End("Failed", "TooManyFailures", "", 4.0), **values)


OF_SUMS = {
    "participants": "participants_sha256",
    "survivors": "survivors",
    "opened": "openers",
}  # fact that it is known by


def summing(last="Open"):
    """A sum under masks whose step of that name is over; of a to g, g is lost before Mask and f before Open."""
    federation, steps = masked_round.Federation(masked_round.config("abcdefg")).start(), masked_round.STEPS
    for step in steps[: steps.index(last) + 1]:
        plan, lost = federation.state.current.plan, {"Mask": "g", "Consent": "g", "Open": "fg"}.get(step, "")
        for name in sorted(set(plan.selected) - set(lost)):
            federation.go_on(name)
        if masked_round.is_open(federation, plan, step):
            federation.close_step()
    return federation.state


def caught_up(of, told):
    """The entries that are told beside those that are."""
    store = MemoryStore()
    ledger = Ledger(store, LAYOUT, bytes(32), lambda: 1.0)
    untold.caught_up(ledger, of, told)
    ledger.write()
    return ledger.since(None)


def test_what_is_missing_is_told_in_its_order():
    assert [each.kind for each in caught_up(state(), [])] == [
        "committed",
        "attemptFailed",
        "planned",
        "accepted",
        "ended",
    ]


@pytest.mark.parametrize("missing", range(5))
def test_each_is_told_once(missing):
    told = caught_up(state(), [])
    left = told[:missing] + told[missing + 1 :]
    again = {each.kind for each in caught_up(state(), left)}
    assert again == {told[missing].kind} | ({"ended"} if told[missing].kind == "committed" else set())
    assert caught_up(state(), told) == []


@pytest.mark.parametrize(
    ("kind", "fact"),
    [("committed", "commit_sha256"), ("planned", "plan_sha256"), ("attemptFailed", "failure_sha256"), ("accepted", "payloads")],
)  # fmt: skip
def test_what_was_made_anew_after_a_repair_is_not_taken_for_what_was_told_before(kind, fact):
    told = caught_up(state(), [])
    other = {"payloads": {"update": rules.C}}.get(fact, rules.C)
    before = [replace(each, facts={**each.facts, fact: other}) if each.kind == kind else each for each in told]
    assert kind in {each.kind for each in caught_up(state(), before)}


def test_an_end_before_the_last_commit_is_that_of_rounds_that_are_undone():
    told = caught_up(state(), [])
    assert [each.kind for each in caught_up(state(), [told[-1], *told[:-1]])] == ["ended"]


def test_a_commit_is_known_by_the_digest_of_its_stored_bytes():
    of = state(tip_sha256=rules.C)
    assert caught_up(of, [])[0].facts["commit_sha256"] == rules.C
    known = [Entry("committed", 1, {"commit_sha256": rules.C})]
    assert "committed" not in {each.kind for each in caught_up(of, known)}


PARTICIPANTS, SURVIVORS, OPENED = ("participants", "abcdefg"), ("survivors", "abcdef"), ("opened", "abcde")


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("Advertise", [PARTICIPANTS]),
        ("Share", [PARTICIPANTS]),
        ("Mask", [PARTICIPANTS, SURVIVORS]),
        ("Consent", [PARTICIPANTS, SURVIVORS]),
        ("Open", [PARTICIPANTS, SURVIVORS, OPENED]),
    ],
)
def test_of_a_sum_is_told_what_is_recorded_of_it(last, told):
    found = [each for each in caught_up(summing(last), []) if each.kind in OF_SUMS]
    sites = ("participants", "survivors", "openers")
    assert [
        (each.kind, "".join(next(each.facts[fact] for fact in sites if fact in each.facts))) for each in found
    ] == told
    assert {(each.facts["round"], each.facts["attempt"]) for each in found} == {(1, 1)}


@pytest.mark.parametrize("kind", OF_SUMS)
def test_what_is_recorded_of_a_sum_is_told_once_and_of_another_sum_again(kind):
    of = summing()
    told = caught_up(of, [])
    assert caught_up(of, told) == []
    assert [each.kind for each in caught_up(of, [each for each in told if each.kind != kind])] == [kind]
    another = rules.C if kind == "participants" else ["a", "z"]
    for fact, value in ((OF_SUMS[kind], another), ("attempt", 2), ("round", 2)):
        before = [replace(each, facts={**each.facts, fact: value}) if each.kind == kind else each for each in told]
        assert [each.kind for each in caught_up(of, before)] == [kind]
