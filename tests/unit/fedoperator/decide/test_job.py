"""decide as a whole: whose jobs it decides about, and how its work grows with the sites."""

import cProfile

from fedapi import names
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Decision
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def test_another_controllers_or_a_deleted_job_is_left_alone():
    assert decide(s.observe(s.job(managedBy="other.example/x")), s.NOW) == Decision()
    assert decide(s.observe(s.job(meta={"deletionTimestamp": s.ago(1)})), s.NOW) == Decision()


def _calls(count: int) -> int:
    """Calls of functions that a decision makes about a job whose sites all run."""
    clients = tuple(s.site(name) for name in s.LONG[:count])
    wanted = JobContext.of(s.observe(clients=clients), s.NOW).wanted
    children = {s.key(job): {**job, "spec": {**job["spec"], "suspend": False}} for job in wanted.values()}
    jobs = {client: job["metadata"]["name"] for client, job in wanted.items()}
    pods = tuple(s.running(names.ROLE_TRAINER, job, client, name=f"pod-{job}") for client, job in jobs.items())
    observed = s.observe(clients=clients, children=children, pods=pods)
    profile = cProfile.Profile()
    profile.runcall(decide, observed, s.NOW)
    return sum(entry.callcount for entry in profile.getstats())


def test_work_grows_with_the_sites_and_not_with_their_square():
    few, many = _calls(60), _calls(480)
    assert many < 12 * few  # 8 times is linear, 64 would be the square
