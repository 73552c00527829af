"""QueuesReady: what the aggregator says of the broker, and that nothing else is false with it."""

from fedapi import names
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

EVENTS = {"rabbitMQ": {"host": "broker.example", "credentialsSecretRef": {"name": "fedloom-queue-hub"}}}
SPECS = {"events": EVENTS}


def decided(status, *, pods=(), **spec):
    job = s.job(s.STARTED | status, **spec)
    children = s.live_children(s.observe(s.job(**spec)))
    return decide(s.observe(job, pods=pods, children=children), s.NOW)


def test_it_is_true_while_the_aggregator_serves_and_names_the_place():
    found = s.condition(decided(s.in_round(), **SPECS), "QueuesReady")
    assert found == ("True", "Ready", "the aggregator uses amqps://broker.example:5671/%2F")


def test_a_broker_that_fails_is_told_and_progress_is_not_in_doubt():
    why = "the job's queues do not work, sites are served over HTTPS alone: no route"
    pod = s.running(names.ROLE_AGGREGATOR)
    decision = decided(s.in_round() | {"queueTrouble": why}, pods=(pod,), **SPECS)
    assert s.condition(decision, "QueuesReady") == ("False", "QueuesFailing", why)
    assert "QueueTrouble" in [event.reason for event in decision.events]
    assert s.condition(decision, "Progressing")[1] != "StoreFailing"


def test_a_job_without_queues_has_no_such_condition():
    conditions = decided(s.in_round()).status["conditions"]
    assert "QueuesReady" not in {c["type"] for c in conditions}
