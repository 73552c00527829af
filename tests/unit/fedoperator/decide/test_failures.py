"""Policy failures: what a container that ended badly means for its site, its Job and the aggregator."""

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER


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


AGGREGATOR = names.ROLE_AGGREGATOR


@pytest.mark.parametrize(
    ("code", "named"),
    [(Exit.STORE_FAILED, "StoreFailed"), (Exit.STORE_DAMAGED, "StoreDamaged"), (Exit.TOO_OLD, "VersionTooOld")],
)
def test_a_full_or_damaged_store_is_named(code, named):
    dead = {"exitCode": int(code), "message": "what the aggregator said", "finishedAt": s.ago(5)}
    crashed = s.pod(
        AGGREGATOR, container={"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": dead}}
    )
    children = s.live_children(s.observe(), ready=False)
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=(crashed,)), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (status, reason, message) == ("False", named, "what the aggregator said")
    assert decision.suspend == {}


def test_a_status_that_is_refused_makes_the_aggregator_not_ready_with_a_way_out():
    children = s.live_children(s.observe(), ready=False)
    told = s.ended(names.ROLE_AGGREGATOR, "", "", Exit.STATUS_REFUSED, "the job's status may not be written: 401")
    decision = decide(s.observe(s.job(s.in_round(berlin="Training")), children=children, pods=(told,)), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (status, reason) == ("False", "StatusRefused")
        assert "ServiceAccount" in message


RING = s.site("berlin", pool={"workers": 4})
LYON = s.TWO_SITES[1]


def _with_pods(*pods: s.Json, client=RING, budget: int = 6, failed: bool = False) -> Decision:
    children = s.live_children(s.observe(clients=(client, LYON)))
    name = s.job_name(s.observe(clients=(client, LYON)), "berlin")
    for pod in pods:
        pod["metadata"]["ownerReferences"][0]["name"] = name
    if failed:
        s.failed(children[Key("Job", name)])
    settings = Settings(aggregator_image=s.SETTINGS.aggregator_image, pod_failures_per_round=budget)
    return decide(s.observe(s.job(s.in_round()), (client, LYON), children, pods, settings=settings), s.NOW)


def _ended(worker: int, code: int, message: str = "", **more) -> s.Json:
    name = more.pop("name", f"w{worker}")
    return s.ended(TRAINER, "J", "berlin", code, message, worker=worker, name=name, **more)


def test_one_workers_fatal_failure_is_the_sites_and_survivors_are_no_failures():
    pods = (
        _ended(2, Exit.DATA_DIFFERS, "rank 2 has 90 samples, rank 0 has 100", at=60),
        _ended(0, Exit.RING_BROKEN, "rank 2 ended", at=50),
        _ended(1, 143, "", at=40),
    )
    decision = _with_pods(*pods, failed=True)
    assert s.site_reasons(decision)["berlin"] == "DataDiffers"
    assert s.site_messages(decision)["berlin"].startswith("worker 2: rank 2 has 90 samples, rank 0 has 100 (mend it")


@pytest.mark.parametrize(
    ("ends", "stopped"),
    [
        ([(1, Exit.TASK_FAILED), (1, 137), (1, 139)], True),
        ([(1, Exit.TASK_FAILED), (1, 137), (1, Exit.RING_BROKEN)], False),
        ([(worker, Exit.RING_BROKEN) for worker in range(4)] * 2, False),
        ([(worker, Exit.PEER_UNREACHABLE) for worker in range(4)] * 2, False),
        ([(worker, Exit.PEER_UNREACHABLE) for worker in range(4)] * 3, True),
    ],
)
def test_the_budget_is_that_of_the_worker_that_fails_most(ends, stopped):
    pods = [_ended(worker, code, name=f"p{i}") for i, (worker, code) in enumerate(ends)]
    decision = _with_pods(*pods, budget=3)
    assert (s.site_reasons(decision)["berlin"] == Reason.TOO_MANY_FAILURES) is stopped
    assert (True in decision.suspend.values()) is stopped
