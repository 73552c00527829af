"""Sites, gate, replacement and failures: what happens to the training Jobs."""

import pytest

from fedapi import names
from fedapi.crd.federatedjob import Selector
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Observed, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import matches
from fedoperator.decide.view import QUEUE_LABEL
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)
def test_selector_follows_kubernetes(selector, labels, expected):
    assert matches(Selector.model_validate(selector), labels) is expected



def _ready(status: str, generation: int) -> s.Json:
    condition = {"type": "Ready", "status": status, "reason": "R", "lastTransitionTime": s.ago(1)}
    return {"conditions": [condition | {"observedGeneration": generation}]}


def test_paused_and_unready_sites_are_told_to_the_aggregator():
    clients = (
        s.site("a"), s.site("b", paused=True), s.site("c", status=_ready("False", 1)),
        s.site("d", status=_ready("False", 0)), s.site("e", labels={"x": "y"}, status=_ready("True", 1)),
    )  # fmt: skip
    assert s.roster(decide(s.observe(clients=clients), s.NOW)) == {
        "a": (True, ""), "b": (False, "Paused"), "c": (False, "NotReady"),
        "d": (True, ""),  # the condition is about an older generation
        "e": (True, ""),
    }  # fmt: skip


def _flips(observed: Observed) -> dict[str, bool]:
    return dict(decide(observed, s.NOW).suspend)


def test_gate_opens_when_the_aggregator_is_ready_and_never_before():
    closed = s.observe(children=s.live_children(s.observe(), ready=False, suspended=True))
    assert _flips(closed) == {}
    children = s.live_children(s.observe(), ready=True, suspended=True)
    init = next(key for key in children if key.kind == "Job" and "init" in key.name)
    children[init]["spec"]["suspend"] = True
    assert _flips(s.observe(children=children)) == {init.name: False}, "first somebody has to make a model"
    children[init]["spec"]["suspend"] = False
    assert _flips(s.observe(children=children)) == {}
    s.complete(children[init])
    opened = s.observe(children=children)
    assert _flips(opened) == {s.job_name(opened, name): False for name in ("berlin", "lyon")}
    assert s.site_reasons(decide(closed, s.NOW)) == {"berlin": "AwaitingAggregator", "lyon": "AwaitingAggregator"}


def test_an_aggregator_that_restarts_stops_nobody():
    assert _flips(s.observe(children=s.live_children(s.observe(), ready=False))) == {}


def test_a_rollout_under_way_is_not_ready():
    children = s.live_children(s.observe(), suspended=True)
    deployment = children[Key("Deployment", "heart-aggregator")]
    deployment["metadata"]["generation"], deployment["status"]["observedGeneration"] = 3, 2
    assert _flips(s.observe(children=children)) == {}


def test_suspend_stops_all_but_what_a_queue_admits_and_resume_starts_again():
    children = s.live_children(s.observe())
    queued, free = s.job_name(s.observe(), "berlin"), s.job_name(s.observe(), "lyon")
    init = next(k.name for k in children if k.kind == "Job" and "init" in k.name)
    children[Key("Job", queued)]["metadata"]["labels"][QUEUE_LABEL] = "gpu"
    stopped = decide(s.observe(s.job(suspend=True, status=s.STARTED), children=children), s.NOW)
    assert stopped.suspend == {free: True, init: True}
    assert [o["spec"]["replicas"] for o in stopped.objects if o["kind"] == "Deployment"] == [0]
    assert s.condition(stopped, "Suspended")[0] == "True"
    assert stopped.status["phase"] == "Suspended"
    for name in (free, init):
        children[Key("Job", name)]["spec"]["suspend"] = True
    again = decide(s.observe(s.job(status=s.STARTED), children=children), s.NOW)
    assert again.suspend == {init: False}
    with_model = s.job(status=s.STARTED | {"model": s.MODEL})
    assert decide(s.observe(with_model, children=children), s.NOW).suspend[free] is False
    assert [o["spec"]["replicas"] for o in again.objects if o["kind"] == "Deployment"] == [1]


@pytest.mark.parametrize(("state", "flip"), [("Training", {}), ("Accepted", True), ("Idle", True)])
def test_a_paused_site_stops_when_its_round_is_over(state, flip):
    clients = (s.site("berlin", paused=True), s.site("lyon"))
    observed = s.observe(s.job(s.in_round(berlin=state)), clients, s.live_children(s.observe(clients=clients)))
    assert _flips(observed) == ({s.job_name(observed, "berlin"): flip} if flip else {})


def _changed(
    state: str, pods: tuple[s.Json, ...] = (), age_s: float = 300, **meta: object
) -> tuple[Decision, str, str]:
    """The site berlin gets a GPU in mid-job, `age_s` after its round began."""
    status = s.in_round(berlin=state)
    status["round"]["startTime"] = s.ago(age_s)
    before = s.observe(s.job(status))
    children = s.live_children(before)
    old = s.job_name(before, "berlin")
    children[Key("Job", old)]["metadata"].update(meta)
    gpu = s.site("berlin", pool={"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 2})
    after = s.observe(before.job, (gpu, s.TWO_SITES[1]), children, pods)
    return decide(after, s.NOW), old, s.job_name(after, "berlin")


def _applied_jobs(decision: Decision) -> list[str]:
    return [o["metadata"]["name"] for o in decision.objects if o["kind"] == "Job"]


def test_a_changed_template_waits_for_the_round_to_end():
    decision, old, new = _changed("Training")
    assert old != new
    assert decision.delete == ()
    assert new not in _applied_jobs(decision)
    assert s.site_reasons(decision)["berlin"] == Reason.REPLACED_NEXT_ROUND


def test_then_the_old_job_is_deleted_before_the_new_one_is_made():
    decision, old, new = _changed("Accepted")
    assert decision.delete == (Key("Job", old),)
    assert new not in _applied_jobs(decision)
    going, _, _ = _changed("Accepted", deletionTimestamp=s.ago(1))
    assert going.delete == ()
    assert new not in _applied_jobs(going)


def test_a_round_that_has_just_begun_does_not_hold_a_changed_template_off():
    """A site that is last in every round is at rest for milliseconds between two: nobody may ever see it."""
    decision, old, new = _changed("Training", age_s=2)
    assert decision.delete == (Key("Job", old),)
    assert new not in _applied_jobs(decision)
    assert s.site_reasons(decision)["berlin"] == Reason.REPLACING


def test_pods_of_a_site_are_never_doubled():
    clients = (s.site("berlin", pool={"accelerator": "GPU", "resourceName": "amd.com/gpu", "count": 1}),)
    observed = s.observe(s.job(s.STARTED), clients)
    name = s.job_name(observed, "berlin")
    leftover = s.running(TRAINER, "heart-berlin-old", "berlin", meta={"deletionTimestamp": s.ago(1)})
    assert name not in _applied_jobs(decide(s.observe(observed.job, clients, pods=(leftover,)), s.NOW))
    gone = s.ended(TRAINER, "heart-berlin-old", "berlin", 0)
    assert name in _applied_jobs(decide(s.observe(observed.job, clients, pods=(gone,)), s.NOW))


def test_a_site_that_left_loses_its_job_after_its_round():
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "lyon")
    for state, delete in (("Training", ()), ("Idle", (Key("Job", name),))):
        observed = s.observe(s.job(s.in_round(lyon=state)), s.TWO_SITES[:1], children)
        decision = decide(observed, s.NOW)
        assert decision.delete == delete
        assert decision.suspend == {}


@pytest.mark.parametrize(
    ("code", "reason"), [(Exit.DATA_MISSING, "DataMissing"), (Exit.TASK_IMPORT, "TaskImportFailed")]
)
def test_a_fatal_exit_takes_the_site_out_and_tells_the_way_back(code, reason):
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "berlin")
    s.failed(children[Key("Job", name)])
    dead = s.ended(TRAINER, name, "berlin", code, "no file train.csv")
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=(dead,)), s.NOW)
    assert s.site_reasons(decision)["berlin"] == reason
    assert s.site_messages(decision)["berlin"].startswith("no file train.csv (mend it, then delete Job ")
    assert s.roster(decision) == {"berlin": (False, reason), "lyon": (True, "")}
    assert [e.reason for e in decision.events if "berlin" in e.message] == ["SiteTrouble"]
    assert s.condition(decision, "Failed")[0] == "False"


def test_without_a_pod_the_jobs_own_message_tells_the_exit_code():
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "berlin")
    s.failed(children[Key("Job", name)], "Container trainer for pod x failed with exit code 12 matching FailJob rule")
    decision = decide(s.observe(s.job(s.in_round()), children=children), s.NOW)
    assert s.site_reasons(decision)["berlin"] == "DataMissing"


def test_out_of_memory_is_named_and_retried():
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "berlin")
    killed = s.ended(TRAINER, name, "berlin", 137, reason="OOMKilled")
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=(killed,)), s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.OOM_KILLED
    assert "memory limit" in s.site_messages(decision)["berlin"]
    assert decision.suspend == {}
    assert s.roster(decision)["berlin"] == (True, "")


def _budget(*ages: float, status: s.Json | None = None, suspended: bool = False, **more: object) -> Decision:
    """Decision with a budget of 2 failures and pods of berlin that failed so long ago."""
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "berlin")
    children[Key("Job", name)]["spec"]["suspend"] = suspended
    settings = Settings(aggregator_image=s.SETTINGS.aggregator_image, pod_failures_per_round=2)
    pods = tuple(
        s.ended(TRAINER, name, "berlin", Exit.TASK_FAILED, "boom", at=age, name=f"p{i}", **more)
        for i, age in enumerate(ages)
    )
    return decide(s.observe(s.job(status or s.in_round()), children=children, pods=pods, settings=settings), s.NOW)


@pytest.mark.parametrize(
    ("ages", "more", "stopped"),
    [
        ((10, 20), {}, True),
        ((10,), {}, False),
        ((10, 400), {}, False),  # the round began 300 s ago
        ((10, 20), {"conditions": ({"type": "DisruptionTarget", "status": "True"},)}, False),
        ((10, 20), {"meta": {"deletionTimestamp": "2026-11-22T12:00:00Z"}}, False),
    ],
)
def test_failures_are_budgeted_per_round(ages, more, stopped):
    name = s.job_name(s.observe(), "berlin")
    if "meta" in more:
        owner = [{"kind": "Job", "name": name, "uid": "x"}]
        labels = s.pod(TRAINER, name, "berlin")["metadata"]["labels"]
        more = {"meta": more["meta"] | {"labels": labels, "ownerReferences": owner, "name": "p"}}
    decision = _budget(*ages, **more)
    assert decision.suspend == ({name: True} if stopped else {})
    assert (s.site_reasons(decision)["berlin"] == Reason.TOO_MANY_FAILURES) is stopped
    assert s.roster(decision)["berlin"] == ((False, "TooManyFailures") if stopped else (True, ""))


def test_the_next_round_lets_a_resting_site_run_again():
    name = s.job_name(s.observe(), "berlin")
    assert _budget(10, 20, suspended=True).suspend == {}
    again = _budget(310, 320, suspended=True)
    assert again.suspend == {name: False}
    assert s.roster(again)["berlin"] == (True, "")


def test_before_the_first_round_a_resting_site_is_tried_again_after_a_while():
    name = s.job_name(s.observe(), "berlin")
    early = _budget(20, 30, status=s.STARTED | {"model": s.MODEL}, suspended=True)
    assert (early.suspend, early.requeue_after) == ({}, 40.0)
    assert _budget(60, 70, status=s.STARTED | {"model": s.MODEL}, suspended=True).suspend == {name: False}
