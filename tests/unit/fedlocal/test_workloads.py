"""The Job and Deployment controllers: tables of pods in, steps out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedlocal import mounts, pods, workloads
from fedlocal.cluster import timestamp

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEMPLATE = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "trainer"}]}}
POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [int(Exit.TASK_IMPORT)]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [int(Exit.RING_BROKEN)]}},
    ]
}


def owner(kind="Job", generation=1, **spec):
    metadata = {"name": "a", "uid": "u", "generation": generation}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"template": TEMPLATE, **spec},
        "status": {},
    }


def pod(of, code=None, ready=False, age_s=60.0, index=None, **metadata):
    made = pods.pod(of, "p", index)
    made["metadata"] |= metadata
    then = NOW - timedelta(seconds=age_s)
    if code is None:
        made["status"] = pods.status(made, "Running", {"running": {}}, then, is_ready=ready)
    else:
        phase = "Succeeded" if code == 0 else "Failed"
        made["status"] = pods.status(made, phase, pods.ended(code, "why", then, then), then)
    return made


def holds(step):
    return {c["type"]: c["reason"] for c in step.status["conditions"] if c["status"] == "True"}


JOB = owner(backoffLimit=2, podFailurePolicy=POLICY)


@pytest.mark.parametrize(
    ("codes", "create", "conditions"),
    [
        ([], True, {}),
        ([None], False, {}),
        ([0], False, {"Complete": "CompletionsReached"}),
        ([Exit.TASK_FAILED], True, {}),
        ([Exit.TASK_FAILED] * 3, False, {"Failed": "BackoffLimitExceeded"}),
        ([Exit.TASK_IMPORT], False, {"Failed": "PodFailurePolicy"}),
        ([137, 0], False, {"Complete": "CompletionsReached"}),
    ],
)
def test_a_job_by_how_its_pods_ended(codes, create, conditions):
    step = workloads.job(JOB, [pod(JOB, code) for code in codes], NOW)
    assert (bool(step.create), holds(step)) == (create, conditions)
    assert step.status["failed"] == sum(code not in (None, 0) for code in codes)


RING = owner(backoffLimit=3, podFailurePolicy=POLICY, completionMode="Indexed", completions=3, parallelism=3)


@pytest.mark.parametrize(
    ("codes", "create", "status", "conditions"),
    [
        ({}, (0, 1, 2), {"active": 0}, {}),
        ({0: [None], 2: [None]}, (1,), {"active": 2, "completedIndexes": ""}, {}),
        ({0: [None], 1: [137], 2: [None]}, (1,), {"active": 2, "failed": 1}, {}),
        ({0: [None], 1: [137, None], 2: [None]}, (), {"active": 3, "failed": 1}, {}),
        ({0: [None], 1: [Exit.RING_BROKEN], 2: [0]}, (1,), {"failed": 0, "succeeded": 1, "completedIndexes": "2"}, {}),
        ({0: [Exit.RING_BROKEN] * 9, 1: [0], 2: [0]}, (0,), {"failed": 0, "completedIndexes": "1-2"}, {}),
        ({0: [0], 1: [0], 2: [137, 0]}, (), {"succeeded": 3, "completedIndexes": "0-2"}, {"Complete": "CompletionsReached"}),
        ({0: [0], 1: [Exit.TASK_IMPORT], 2: [None]}, (), {"completedIndexes": "0"}, {"Failed": "PodFailurePolicy"}),
        ({0: [20, 20], 1: [20], 2: [20]}, (), {"failed": 4}, {"Failed": "BackoffLimitExceeded"}),
    ],
)  # fmt: skip
def test_an_indexed_job_has_a_pod_per_index(codes, create, status, conditions):
    made = [pod(RING, code, ready=code is None, index=index) for index, all_ in codes.items() for code in all_]
    step = workloads.job(RING, made, NOW)
    assert (step.create, holds(step)) == (create, conditions)
    assert step.status | status == step.status
    running = [p for p in made if not pods.finished(p)]
    assert step.status["ready"] == len(running)
    assert step.end == (tuple(p["metadata"]["name"] for p in running) if conditions else ())


def test_the_wait_after_a_failure_is_the_jobs():
    made = [pod(RING, 20, age_s=0, index=1), pod(RING, 20, age_s=9, index=2), pod(RING, index=2)]
    step = workloads.job(RING, made, NOW)
    assert (step.create, step.again_after) == ((), workloads.backoff_s(2))


def test_a_pod_that_is_still_ending_keeps_its_index():
    made = [pod(RING, index=0, deletionTimestamp="now"), pod(RING, index=1)]
    step = workloads.job(RING, made, NOW)
    assert (step.create, step.status["active"], step.status["terminating"]) == ((2,), 1, 1)


def test_suspension_ends_all_pods_and_what_is_done_stays_done():
    made = [pod(RING, 0, index=0), pod(RING, index=1), pod(RING, index=2)]
    suspended = {**RING, "spec": {**RING["spec"], "suspend": True}}
    step = workloads.job(suspended, made, NOW)
    assert (step.end, step.create, holds(step)) == (("a-1-p", "a-2-p"), (), {"Suspended": "JobSuspended"})
    assert workloads.job({**RING, "status": step.status}, made[:1], NOW).create == (1, 2)


def test_a_pod_of_an_index_knows_its_number():
    made = pods.pod(RING, "x1y2z", 2)
    assert made["metadata"]["name"] == "a-2-x1y2z"
    assert made["metadata"]["labels"][pods.INDEX] == made["metadata"]["annotations"][pods.INDEX] == "2"
    assert mounts.environment(made, Path("/root")) == {names.ENV_COMPLETION_INDEX: "2"}


def test_a_failed_pod_is_replaced_only_after_a_wait_that_grows():
    step = workloads.job(JOB, [pod(JOB, 20, age_s=0)], NOW)
    assert (step.create, step.again_after) == ((), workloads.BACKOFF_FIRST_S)
    assert [workloads.backoff_s(n) for n in (0, 1, 2, 3, 20)] == [0.0, 0.25, 0.5, 1.0, 10.0]


def test_a_suspended_job_ends_its_pod_and_says_so():
    suspended = owner(suspend=True)
    step = workloads.job(suspended, [pod(suspended)], NOW)
    assert (step.end, step.create, holds(step)) == (("a-p",), (), {"Suspended": "JobSuspended"})
    resumed = {**owner(suspend=False), "status": step.status}
    step = workloads.job(resumed, [], NOW)
    assert (step.create, holds(step)) == ((None,), {})
    assert step.status["startTime"] == timestamp(NOW)


def test_a_finished_job_stays_finished():
    step = workloads.job({**JOB, "status": workloads.job(JOB, [pod(JOB, 11)], NOW).status}, [], NOW)
    assert (step.create, holds(step)) == ((), {"Failed": "PodFailurePolicy"})


def test_a_deployment_waits_for_the_old_pod_before_the_new():
    deployment = owner("Deployment", replicas=1)
    assert workloads.deployment(deployment, [], NOW).create == (None,)
    ready = pod(deployment, ready=True)
    step = workloads.deployment(deployment, [ready], NOW)
    assert (step.create, step.end, step.status["readyReplicas"]) == ((), (), 1)
    newer = {**deployment, "spec": {**deployment["spec"], "template": {**TEMPLATE, "metadata": {"labels": {"v": "2"}}}}}
    step = workloads.deployment(newer, [ready], NOW)
    assert (step.create, step.end, step.status["readyReplicas"]) == ((), ("a-p",), 0)
    none = {**deployment, "spec": {**deployment["spec"], "replicas": 0}}
    assert workloads.deployment(none, [ready], NOW).end == ("a-p",)
