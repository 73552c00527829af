"""The Job and Deployment controllers: tables of pods in, steps out."""

from datetime import UTC, datetime, timedelta

import pytest

from fedapi.outcome import Exit
from fedlocal import pods, workloads
from fedlocal.cluster import timestamp

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEMPLATE = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "trainer"}]}}
POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [int(Exit.TASK_IMPORT)]}},
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


def pod(of, code=None, ready=False, age_s=60.0, **metadata):
    made = pods.pod(of, "p")
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
    assert (step.create, holds(step)) == (create, conditions)
    assert step.status["failed"] == sum(code not in (None, 0) for code in codes)


def test_a_failed_pod_is_replaced_only_after_a_wait_that_grows():
    step = workloads.job(JOB, [pod(JOB, 20, age_s=0)], NOW)
    assert (step.create, step.again_after) == (False, workloads.BACKOFF_FIRST_S)
    assert [workloads.backoff_s(n) for n in (0, 1, 2, 3, 20)] == [0.0, 0.25, 0.5, 1.0, 10.0]


def test_a_suspended_job_ends_its_pod_and_says_so():
    suspended = owner(suspend=True)
    step = workloads.job(suspended, [pod(suspended)], NOW)
    assert (step.end, step.create, holds(step)) == (("p",), False, {"Suspended": "JobSuspended"})
    resumed = {**owner(suspend=False), "status": step.status}
    step = workloads.job(resumed, [], NOW)
    assert (step.create, holds(step)) == (True, {})
    assert step.status["startTime"] == timestamp(NOW)


def test_a_finished_job_stays_finished():
    step = workloads.job({**JOB, "status": workloads.job(JOB, [pod(JOB, 11)], NOW).status}, [], NOW)
    assert (step.create, holds(step)) == (False, {"Failed": "PodFailurePolicy"})


def test_a_deployment_waits_for_the_old_pod_before_the_new():
    deployment = owner("Deployment", replicas=1)
    assert workloads.deployment(deployment, [], NOW).create
    ready = pod(deployment, ready=True)
    step = workloads.deployment(deployment, [ready], NOW)
    assert (step.create, step.end, step.status["readyReplicas"]) == (False, (), 1)
    newer = {**deployment, "spec": {**deployment["spec"], "template": {**TEMPLATE, "metadata": {"labels": {"v": "2"}}}}}
    step = workloads.deployment(newer, [ready], NOW)
    assert (step.create, step.end, step.status["readyReplicas"]) == (False, ("p",), 0)
    none = {**deployment, "spec": {**deployment["spec"], "replicas": 0}}
    assert workloads.deployment(none, [ready], NOW).end == ("p",)
