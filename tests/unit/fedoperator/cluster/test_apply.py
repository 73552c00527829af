"""What is said of events that cannot be recorded."""

import logging
from types import SimpleNamespace

import pytest

from fedoperator.cluster.apply import Applied, Applier
from fedoperator.decide.decision import Decision, Event
from fedoperator.decide.reasons import EventReason
from fedoperator.errors import GoneError, RefusedError
from tests.unit.fedoperator.samples import NOW


@pytest.mark.parametrize(
    ("error", "level"),
    [(GoneError("it is being terminated"), "DEBUG"), (RefusedError("forbidden", 403), "WARNING")],
    ids=["a namespace that is being deleted", "refused"],
)
def test_an_event_that_is_not_recorded_ends_nothing_and_is_loud_where_somebody_can_do_something(caplog, error, level):
    tried = []

    def record(_, event, __):
        tried.append(event)
        raise error

    events = [Event("Warning", reason, "m") for reason in (EventReason.REFUSED, EventReason.STALLED)]
    applier = Applier(SimpleNamespace(event=record), None, None)
    with caplog.at_level(logging.DEBUG):
        applier.report({"kind": "FederatedJob"}, Decision(events=tuple(events)), Applied(), NOW)
    assert tried == events
    assert [line.levelname for line in caplog.records] == [level] * 2
