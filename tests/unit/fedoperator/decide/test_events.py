"""Policy events: a transition is told once."""

from datetime import timedelta

from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def test_transition_times_stay_while_the_status_stays_and_events_come_once():
    first = decide(s.observe(), s.NOW)
    assert [e.reason for e in first.events] == ["Accepted"]
    later = s.NOW + timedelta(seconds=30)
    second = decide(s.observe(s.job(dict(first.status), meta={"generation": 2})), later)
    assert second.events == ()
    before = {c["type"]: c["lastTransitionTime"] for c in first.status["conditions"]}
    assert {c["type"]: c["lastTransitionTime"] for c in second.status["conditions"]} == before
    assert second.status["observedGeneration"] == 2
    assert second.status["startTime"] == first.status["startTime"]
    third = decide(s.observe(s.job(dict(second.status), meta={"generation": 2}, suspend=True)), later)
    assert [e.reason for e in third.events] == ["Suspended"]
    fourth = decide(s.observe(s.job(dict(third.status), meta={"generation": 2})), later)
    assert [e.reason for e in fourth.events] == ["Resumed"]


def test_a_lost_aggregator_is_an_event():
    ready = decide(s.observe(s.job(s.in_round()), children=s.live_children(s.observe())), s.NOW)
    status = s.in_round() | dict(ready.status)
    lost = decide(s.observe(s.job(status), children=s.live_children(s.observe(), ready=False)), s.NOW)
    assert [(e.type, e.reason) for e in lost.events] == [("Warning", "AggregatorLost")]
