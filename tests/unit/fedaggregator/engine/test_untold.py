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
from tests.unit.fedcore.rounds import test_round_rules as rules

LAYOUT = Layout("ns", "job", "uid")
FAILURE = FailureRecord(job_uid="uid", round=1, attempt=1, reason="QuorumNotReached", message="m", at=3.0)


def state(**values):
    made, _ = rules.accept(rules.collecting("ab"), "a")
    return replace(made, void=(FAILURE,), end=End("Failed", "TooManyFailures", "", 4.0), **values)


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
