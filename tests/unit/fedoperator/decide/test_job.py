"""decide as a whole: whose jobs it decides about, and how its work grows with the sites."""

import sys

import pytest

from fedapi import names
from fedapi.crd.job_status import MAX_LISTED
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Decision, Key, Refused
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def test_another_controllers_or_a_deleted_job_is_left_alone():
    assert decide(s.observe(s.job(managedBy="other.example/x")), s.NOW) == Decision()
    assert decide(s.observe(s.job(meta={"deletionTimestamp": s.ago(1)})), s.NOW) == Decision()


def _running(jobs):
    """Every site has a Job and a pod that runs."""
    children = {s.key(job): {**job, "spec": {**job["spec"], "suspend": False}} for job in jobs.values()}
    named = {client: job["metadata"]["name"] for client, job in jobs.items()}
    pods = tuple(s.running(names.ROLE_TRAINER, job, client, name=f"pod-{job}") for client, job in named.items())
    return {"children": children, "pods": pods}


def _complete(jobs):
    """Every Job ended without what it was made for."""
    scene = _running(jobs)
    done = {"status": {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": s.ago(100)}}
    return {"children": {key: {**job, **done} for key, job in scene["children"].items()}}


def _failed(jobs):
    """Every pod failed, and its Job."""
    children = {s.key(job): dict(job) for job in jobs.values()}
    for job in children.values():
        s.failed(job, "exit code 11")
    named = {client: job["metadata"]["name"] for client, job in jobs.items()}
    pods = tuple(s.ended(names.ROLE_TRAINER, job, client, 11, name=f"pod-{job}") for client, job in named.items())
    return {"children": children, "pods": pods}


def _unmade(jobs):
    """The API server takes no Job, as with a quota of their number."""
    return {"refused": tuple(Refused(s.key(job), "quota") for job in jobs.values())}


def _replaced(jobs):
    """Every Job has another template than it should have."""
    scene = _running(jobs)
    old = {}
    for key, job in scene["children"].items():
        name = f"{key.name[:-1]}-"
        old[Key(key.kind, name)] = {**job, "metadata": {**job["metadata"], "name": name}}
    return {"children": old}


def _steps(count, scene, lifetime) -> int:
    """Calls, and lines, which are also turns of a loop, of Python code that a decision takes."""
    clients = tuple(s.site(name) for name in s.LONG[:count])
    status = s.planned("3-1", *s.LONG[:count], **dict.fromkeys(s.LONG[:MAX_LISTED], "Training"))
    job = s.job(status, training={"lifetime": lifetime})
    wanted = JobContext.of(s.observe(job, clients), s.NOW).wanted
    assert len(wanted) == count
    observed = s.observe(job, clients, **scene(wanted))
    decide(observed, s.NOW)  # what is done once in a process does not count
    steps = 0

    def counted(*_):
        nonlocal steps
        steps += 1
        return counted

    before = sys.gettrace()
    sys.settrace(counted)
    try:
        decide(observed, s.NOW)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("lifetime", ["Job", "Round"])
@pytest.mark.parametrize("scene", [_running, _complete, _failed, _unmade, _replaced])
def test_work_grows_with_the_sites_and_not_with_their_square(scene, lifetime):
    few, more, many = (_steps(count, scene, lifetime) for count in (30, 60, 90))
    assert many - more <= 1.005 * (more - few)  # one loop over all sites for each of them makes it 1.03
