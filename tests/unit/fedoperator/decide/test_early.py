"""Policy early: Jobs that are complete without what they were made for: the operator sees it and waits for nobody for ever."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

ROUND = {"training": {"lifetime": "Round"}}


def _complete(child: s.Json, seconds_ago: float) -> None:
    child["status"] = {
        "conditions": [{"type": "Complete", "status": "True"}],
        "completionTime": s.ago(seconds_ago),
    }


def _ended(status: s.Json, seconds_ago: float = 61, **spec: object):
    """berlin's training Job is complete."""
    job = s.job(status, **spec)
    observed = s.observe(job)
    children = s.live_children(observed)
    _complete(children[Key("Job", s.job_name(observed, "berlin"))], seconds_ago)
    return s.observe(job, children=children)


@pytest.mark.parametrize("state", ["Training", "Waiting", "Accepted", "Idle"])
def test_a_job_that_ends_before_the_federated_job_is_trouble(state):
    decision = decide(_ended(s.in_round(berlin=state, lyon="Training")), s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.ENDED_EARLY
    assert "sys.exit" in s.site_messages(decision)["berlin"]
    assert "delete Job heart-berlin" in s.site_messages(decision)["berlin"]
    assert s.roster(decision) == {"berlin": (False, Reason.ENDED_EARLY), "lyon": (True, "")}
    assert "SiteTrouble" in {event.reason for event in decision.events}


def test_within_the_grace_nothing_is_said_and_the_clock_looks_again():
    decision = decide(_ended(s.in_round(berlin="Training"), seconds_ago=10), s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.FINISHED
    assert decision.requeue_after == 50


def test_the_end_of_the_job_is_no_early_end():
    outcome = {"outcome": {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": s.ago(1)}}
    decision = decide(_ended(s.in_round(berlin="Idle") | outcome), s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.FINISHED


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("Training", Reason.ENDED_EARLY),
        ("Waiting", Reason.ENDED_EARLY),
        ("Accepted", Reason.ROUND_DONE),
        ("Failed", Reason.ROUND_DONE),
        ("Late", Reason.ROUND_DONE),
    ],
)
def test_with_lifetime_round_the_update_of_this_round_counts(state, reason):
    decision = decide(_ended(s.planned("3-1", "berlin", berlin=state), **ROUND), s.NOW)
    assert s.site_reasons(decision)["berlin"] == reason
    assert s.roster(decision)["berlin"][0] is (reason == Reason.ROUND_DONE)


def test_the_last_evaluation_owes_no_update():
    decision = decide(_ended(s.planned("20-evaluate", "berlin", berlin="Training"), **ROUND), s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.ROUND_DONE


def test_when_all_sites_ended_early_the_job_says_that_it_stands():
    job = s.job(s.in_round(berlin="Training", lyon="Training"))
    observed = s.observe(job)
    children = s.live_children(observed)
    for client in ("berlin", "lyon"):
        _complete(children[Key("Job", s.job_name(observed, client))], 90)
    decision = decide(s.observe(job, children=children), s.NOW)
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.TOO_FEW_SITES)
    assert s.condition(decision, "Failed")[0] == "False", "an outcome that is late may still come"


def _initialized(done_s_ago: float, *, ready: bool = False, up_s_ago: float = 9000, **status: object):
    job = s.job(s.STARTED | status)
    children = s.live_children(s.observe(s.job(s.STARTED)), ready=ready, suspended=True)
    init = next(c for c in children.values() if c["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_INIT)
    _complete(init, done_s_ago)
    aggregator = s.pod(names.ROLE_AGGREGATOR, container={"state": {"running": {"startedAt": s.ago(up_s_ago)}}})
    return s.observe(job, children=children, pods=(aggregator,))


@pytest.mark.parametrize(
    ("observed", "progressing", "failed"),
    [
        (_initialized(30), "True", "False"),
        (_initialized(90), "False", "False"),
        (_initialized(700), "False", "True"),
        (_initialized(700, up_s_ago=10), "True", "False"),
        (_initialized(700, ready=True), "False", "True"),
        (_initialized(700, model=s.MODEL), "True", "False"),
    ],
    ids=["within the grace", "told", "given up", "the aggregator has just started", "ready", "there is a model"],
)
def test_an_init_job_that_left_no_model_is_not_waited_for_for_ever(observed, progressing, failed):
    decision = decide(observed, s.NOW)
    assert s.condition(decision, "Progressing")[0] == progressing
    assert s.condition(decision, "Failed")[0] == failed
    if failed == "True":
        assert s.condition(decision, "Failed")[1] == Reason.INIT_MODEL_MISSING
    elif progressing == "False":
        assert s.condition(decision, "Progressing")[1] == Reason.INIT_MODEL_MISSING
        assert s.condition(decision, "AggregatorReady")[1] == Reason.INIT_MODEL_MISSING
        assert decision.requeue_after == 510
