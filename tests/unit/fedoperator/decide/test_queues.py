"""Policy queues: who starts and stops the Jobs that a queue admits."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Decision, Key, Observed
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s


def _keys(decision: Decision, *kinds: str) -> set[Key]:
    return {s.key(o) for o in decision.objects if o["kind"] in kinds and names.LABEL_CLIENT in o["metadata"]["labels"]}


def _queued(status: s.Json, *, suspended: tuple[str, ...] = (), **spec) -> Observed:
    """A job with a queue, and its Jobs as the queue has left them."""
    job = s.job(status, queueName="gpus", **spec)
    children = s.live_children(s.observe(s.job(queueName="gpus")))
    for client in ("berlin", "lyon"):
        name = s.job_name(s.observe(s.job(queueName="gpus")), client)
        children[Key("Job", name)]["spec"]["suspend"] = client in suspended
    return s.observe(job, children=children)


QUEUED = {s.job_name(s.observe(s.job(queueName="gpus")), client) for client in ("berlin", "lyon")}


def test_admission_is_the_queues_and_is_mirrored():
    waiting = decide(_queued(s.in_round(), suspended=("berlin", "lyon")), s.NOW)
    assert waiting.suspend == {}
    status, reason, message = s.condition(waiting, "QueueAdmitted")
    assert (status, reason, message) == (
        "False", Reason.AWAITING_QUEUE, "2 of 2 training Jobs wait for their queue: berlin, lyon",
    )  # fmt: skip
    assert set(s.site_reasons(waiting).values()) == {Reason.AWAITING_QUEUE}
    partly = decide(_queued(s.in_round() | dict(waiting.status), suspended=("lyon",)), s.NOW)
    assert s.condition(partly, "QueueAdmitted")[2] == "1 of 2 training Jobs wait for their queue: lyon"
    admitted = decide(_queued(s.in_round() | dict(partly.status)), s.NOW)
    assert s.condition(admitted, "QueueAdmitted")[:2] == ("True", Reason.ADMITTED)
    assert [e.reason for e in admitted.events] == ["QueueAdmitted"]
    evicted = decide(_queued(s.in_round() | dict(admitted.status), suspended=("berlin",)), s.NOW)
    assert s.condition(evicted, "QueueAdmitted")[:2] == ("False", Reason.AWAITING_QUEUE)
    assert ([e.reason for e in evicted.events], evicted.suspend) == (["AwaitingQueue"], {})
    plain = decide(s.observe(children=s.live_children(s.observe())), s.NOW)
    assert "QueueAdmitted" not in {c["type"] for c in plain.status["conditions"]}


@pytest.mark.parametrize("suspended", [(), ("berlin", "lyon")], ids=["admitted", "waiting"])
def test_a_suspended_job_leaves_its_queue_and_a_resumed_one_joins_it_anew(suspended):
    stopped = decide(_queued(s.in_round(berlin="Training"), suspended=suspended, suspend=True), s.NOW)
    assert {key.name for key in stopped.delete} == QUEUED
    assert not QUEUED & ({o["metadata"]["name"] for o in stopped.objects} | set(stopped.suspend))
    children = {k: v for k, v in _queued(s.in_round()).children.items() if k.name not in QUEUED}
    gone = decide(s.observe(s.job(s.in_round(), queueName="gpus", suspend=True), children=children), s.NOW)
    assert (gone.delete, _keys(gone, "Job")) == ((), set())
    assert set(s.site_reasons(gone).values()) == {Reason.SUSPEND_REQUESTED}
    resumed = decide(s.observe(s.job(s.in_round(), queueName="gpus"), children=children), s.NOW)
    assert {key.name for key in _keys(resumed, "Job")} == QUEUED


def test_a_job_that_has_ended_leaves_its_queue():
    outcome = {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": s.ago(10)}
    early = decide(_queued(s.in_round() | {"outcome": outcome}, suspended=("lyon",)), s.NOW)
    assert early.delete == ()  # berlin still hears that it is over
    late = decide(_queued(s.in_round() | {"outcome": outcome | {"time": s.ago(61)}}, suspended=("lyon",)), s.NOW)
    assert {key.name for key in late.delete} == QUEUED
