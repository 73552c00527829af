"""Policy rollback: what the aggregator made of spec.rollbackTo is a condition, and each value an event, once."""

from fedoperator.decide.job import decide
from fedoperator.desired.config import job_config
from tests.unit.fedoperator import samples as s

DONE = {"round": 3, "id": "bad data", "result": "Done", "committed": 8, "message": "round 8 has the model of round 3"}
OUTCOME = {"result": "Succeeded", "reason": "RoundsCompleted", "message": "", "time": "2026-11-22T12:00:00Z"}
REFUSED = {"round": 9, "result": "Refused", "message": "round 9 is not committed: choose one of 0 to 7"}


def told(before, **rollback):
    """The decision over what the status said before, with this rollback in it."""
    status = s.in_round() | dict(before or {}) | ({"rollback": rollback} if rollback else {})
    return decide(s.observe(s.job(status), children=s.live_children(s.observe())), s.NOW)


def test_nothing_is_said_where_nothing_was_asked():
    quiet = told(None)
    assert "RolledBack" not in {condition["type"] for condition in quiet.status["conditions"]}


def test_each_value_is_a_condition_and_one_event():
    first = told(told(None).status, **DONE)
    words = "rollbackTo round 3 (bad data): round 8 has the model of round 3"
    assert s.condition(first, "RolledBack") == ("True", "RolledBack", words)
    assert [(e.type, e.reason, e.message) for e in first.events] == [("Normal", "RolledBack", words)]
    assert told(first.status, **DONE).events == ()
    again = told(
        first.status, **DONE | {"id": "again", "committed": 11, "message": "round 11 has the model of round 3"}
    )
    assert [e.reason for e in again.events] == ["RolledBack"]
    refused = told(again.status, **REFUSED)
    assert s.condition(refused, "RolledBack")[:2] == ("False", "RollbackRefused")
    assert [(e.type, e.reason, e.message) for e in refused.events] == [
        ("Warning", "RollbackRefused", "rollbackTo round 9: round 9 is not committed: choose one of 0 to 7")
    ]
    assert told(refused.status, **REFUSED).events == ()


def test_the_aggregator_is_told_what_was_asked():
    assert job_config(s.job(), ()).rollback_to is None
    made = job_config(s.job(rollbackTo={"round": 3, "id": "bad data"}), ()).rollback_to
    assert (made.round, made.id) == (3, "bad data")
    assert job_config(s.job(rollbackTo={"round": 0}), ()).rollback_to.id == ""


def test_what_is_asked_of_a_job_that_has_ended_is_refused_and_what_was_done_before_stays():
    ended = s.in_round() | {"outcome": OUTCOME}
    asked = s.job(ended, rollbackTo={"round": 3})
    found = decide(s.observe(asked, children=s.live_children(s.observe())), s.NOW)
    words = "rollbackTo round 3: the job has ended: `fedloom model pull` gives the model of round 3, and a new job goes on from it"
    assert s.condition(found, "RolledBack") == ("False", "RollbackRefused", words)
    assert ("RollbackRefused", words) in [(e.reason, e.message) for e in found.events]
    again = decide(s.observe(s.job(dict(found.status) | ended, rollbackTo={"round": 3})), s.NOW)
    assert "RollbackRefused" not in [e.reason for e in again.events], "once"
    done = s.job(ended | {"rollback": DONE}, rollbackTo={"round": 3, "id": "bad data"})
    assert s.condition(decide(s.observe(done), s.NOW), "RolledBack")[:2] == ("True", "RolledBack")
