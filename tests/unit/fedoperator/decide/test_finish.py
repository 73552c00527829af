"""Policy finish: how a job ends, and what is cleaned up then."""

from datetime import timedelta

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
INIT = names.ROLE_INIT


def test_a_failed_init_job_fails_the_job_with_the_tasks_own_words():
    children = s.live_children(s.observe(), ready=False)
    s.failed(children[Key("Job", s.init_name())])
    dead = s.ended(INIT, s.init_name(), "", Exit.TASK_IMPORT, "No module named 'hart'")
    decision = decide(s.observe(s.job(s.STARTED), children=children, pods=(dead,)), s.NOW)
    assert s.condition(decision, "Failed") == (
        "True", "TaskImportFailed", "the init Job failed: No module named 'hart'",
    )  # fmt: skip
    assert decision.status["phase"] == "Failed"


def test_a_failed_init_job_is_history_once_there_is_a_model():
    children = s.live_children(s.observe())
    s.failed(children[Key("Job", s.init_name())], "exit code 11")
    decision = decide(s.observe(s.job(s.in_round()), children=children), s.NOW)
    assert s.condition(decision, "Failed")[0] == "False"


def test_no_sites_left():
    children, pods = s.live_children(s.observe()), []
    for client in ("berlin", "lyon"):
        name = s.job_name(s.observe(), client)
        s.failed(children[Key("Job", name)])
        pods.append(s.ended(TRAINER, name, client, Exit.TASK_INVALID, "metric is text", name=name))
    init = children[Key("Job", s.init_name())]
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=tuple(pods)), s.NOW)
    status, reason, message = s.condition(decision, "Failed")
    assert (status, reason) == ("True", Reason.NO_SITES_LEFT)
    assert "berlin: TaskInvalid: metric is text" in message
    assert [o["spec"]["replicas"] for o in decision.objects] == [0]
    assert decision.suspend == {init["metadata"]["name"]: True}
    assert decision.status["completionTime"] == "2026-11-22T12:00:00Z"
    held_out = (*s.TWO_SITES, s.site("watch", {"role": "v"}))  # one that only evaluates makes no round
    job = s.job(s.in_round(), evaluation={"heldOut": {"selector": {"matchLabels": {"role": "v"}}}})
    decision = decide(s.observe(job, clients=held_out, children=children, pods=tuple(pods)), s.NOW)
    assert s.condition(decision, "Failed")[:2] == ("True", Reason.NO_SITES_LEFT)


@pytest.mark.parametrize(
    "barred", [{"paused": True}, {"status": {"conditions": [s.not_ready()]}}], ids=["paused", "not ready"]
)
@pytest.mark.parametrize("state", ["Training", "Idle"])
def test_a_site_that_is_merely_barred_may_come_back(barred, state):
    clients = (s.site("berlin"), s.site("lyon", **barred))
    children = s.live_children(s.observe(clients=clients))
    s.failed(children[Key("Job", s.job_name(s.observe(clients=clients), "berlin"))], "exit code 12")
    decision = decide(s.observe(s.job(s.in_round(lyon=state)), clients, children), s.NOW)
    assert s.condition(decision, "Failed")[0] == "False"
    expected = ("True", Reason.TRAINING) if state == "Training" else ("False", Reason.TOO_FEW_SITES)
    assert s.condition(decision, "Progressing")[:2] == expected


@pytest.mark.parametrize(("result", "phase"), [("Succeeded", "Complete"), ("Failed", "Failed")])
def test_the_outcome_ends_the_job_and_the_aggregator_stays_for_its_sites(result, phase):
    children = s.live_children(s.observe())
    s.complete(children[Key("Job", s.init_name())])
    told = decide(s.observe(s.job(s.outcome(result)), children=children), s.NOW)
    assert s.condition(told, phase) == ("True", "RoundsDone", "20 of 20 rounds")
    assert told.status["phase"] == phase
    assert told.status["completionTime"] == s.ago(10)
    assert (told.objects, told.suspend, told.secrets, told.requeue_after) == ((), {}, (), 50.0)
    after = s.observe(s.job(s.outcome(result) | dict(told.status)), children=children)
    late = decide(after, s.NOW + timedelta(seconds=50))
    assert [o["spec"]["replicas"] for o in late.objects] == [0]
    assert late.suspend == {s.job_name(s.observe(), name): True for name in ("berlin", "lyon")}


def test_it_stops_as_soon_as_all_sites_have_heard():
    children = s.live_children(s.observe())
    for name in (s.init_name(), s.job_name(s.observe(), "berlin"), s.job_name(s.observe(), "lyon")):
        s.complete(children[Key("Job", name)])
    observed = s.observe(s.job(s.outcome()), children=children)
    decision = decide(observed, s.NOW)
    assert [o["spec"]["replicas"] for o in decision.objects] == [0]
    children[Key("Deployment", "heart-aggregator")]["spec"]["replicas"] = 0
    recorded = s.observe(s.job(s.outcome() | dict(decision.status)), children=children)
    assert decide(recorded, s.NOW) == Decision()
    assert decide(s.observe(recorded.job), s.NOW) == Decision()  # children deleted by hand stay deleted


def test_the_first_ending_is_kept_for_good():
    recorded = dict(decide(s.observe(s.job(s.in_round(), activeDeadlineSeconds=1)), s.NOW).status)
    later = s.observe(s.job(s.outcome() | recorded, activeDeadlineSeconds=1))
    assert decide(later, s.NOW).status is None


def _init(children) -> Key:
    return next(k for k, c in children.items() if c["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_INIT)


WAITS = {"state": {"waiting": {"reason": "PodInitializing"}}}
BROKEN = {"state": {"terminated": {"exitCode": 11, "reason": "Error", "message": "no module", "finishedAt": s.ago(50)}}}


def test_a_task_that_does_not_import_fails_the_job_with_its_words():
    children = s.live_children(s.observe())
    key = _init(children)
    s.failed(children[key], "Pod failed")
    pod = s.pod(names.ROLE_INIT, key.name, container=WAITS, phase="Failed")
    pod["status"]["initContainerStatuses"] = [BROKEN]
    decision = decide(s.observe(s.job(s.STARTED), children=children, pods=(pod,)), s.NOW)
    assert s.condition(decision, "Failed") == ("True", "TaskImportFailed", "the init Job failed: no module")
