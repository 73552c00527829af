"""Policy site_status: the list of sites, and what the pods of a ring say together."""

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s


def test_the_sites_list_is_bounded_with_trouble_first():
    clients = tuple(s.site(f"site-{i:03}") for i in range(120))
    observed = s.observe(s.job(s.in_round()), clients)
    children = s.live_children(observed)
    s.failed(children[Key("Job", s.job_name(observed, "site-119"))], "exit code 12")
    sites = decide(s.observe(observed.job, clients, children), s.NOW).status["sites"]
    assert len(sites) == 100
    assert (sites[0]["name"], sites[0]["reason"]) == ("site-119", "DataMissing")


TRAINER = names.ROLE_TRAINER
RING = s.site("berlin", pool={"workers": 4})
SMALLER = s.site("berlin", pool={"workers": 4, "minWorkers": 2})
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


def _runs(*workers: int, **more) -> list[s.Json]:
    return [s.running(TRAINER, "J", "berlin", worker=w, name=f"r{w}", **more) for w in workers]


PENDING = s.unplaced(TRAINER, "J", "berlin", "3 Insufficient nvidia.com/gpu.", worker=3, name="p3")
PULLING = s.waiting(TRAINER, "J", "berlin", "ErrImagePull", "not found", worker=2, name="p2")
FRESH = s.waiting(TRAINER, "J", "berlin", "ContainerCreating", worker=3, name="p3", created_s_ago=5)
RINGS = [
    # client, pods, reason, message
    (RING, _runs(0, 1, 2, 3), "", ""),
    (RING, [], Reason.STARTING, ""),
    (RING, [*_runs(0, 1, 2), FRESH], Reason.STARTING, "3 of 4 workers run: the others are starting"),
    (RING, [*_runs(0, 1, 2), PENDING], Reason.UNSCHEDULABLE, "3 of 4 workers run: pod p3: no node has enough nvidia.com/gpu: waiting for capacity"),
    (RING, [*_runs(0, 1), PENDING, PULLING], Reason.IMAGE_ERROR, "2 of 4 workers run: pod p2: ErrImagePull: not found"),
    (SMALLER, [*_runs(0, 1, 2), PENDING], Reason.RING_INCOMPLETE, "3 of 4 workers run: pod p3: no node has enough nvidia.com/gpu: waiting for capacity"),
    (SMALLER, [*_runs(0), PENDING], Reason.UNSCHEDULABLE, "1 of 4 workers run: pod p3: no node has enough nvidia.com/gpu: waiting for capacity"),
    (SMALLER, [*_runs(0, 2, 3), _ended(1, 137, reason="OOMKilled")], Reason.RING_INCOMPLETE, "3 of 4 workers run: worker 1: killed for using more memory than its limit: raise the memory limit (resources) or lower training.batchSize"),
    (RING, [*_runs(0, 2, 3, created_s_ago=9), _ended(1, 137, reason="OOMKilled")], Reason.OOM_KILLED, "3 of 4 workers run: worker 1: killed for using more memory than its limit: raise the memory limit (resources) or lower training.batchSize"),
    (RING, [_ended(1, 137, reason="OOMKilled"), *_runs(0, 1, 2, 3, created_s_ago=9)], "", ""),
    (RING, [*_runs(0), *(_ended(w, 0) for w in (1, 2, 3))], "", ""),
    (RING, [_ended(1, Exit.RING_BROKEN), *_runs(0, 2, 3)], Reason.STARTING, "3 of 4 workers run: the others are starting"),
]  # fmt: skip


@pytest.mark.parametrize(("client", "pods", "reason", "message"), RINGS)
def test_what_the_pods_of_a_ring_say_together(client, pods, reason, message):
    decision = _with_pods(*pods, client=client)
    entry = next(entry for entry in decision.status["sites"] if entry["name"] == "berlin")
    assert (entry["reason"], entry["message"], entry["workers"]) == (reason, message, 4)


def test_a_ring_that_goes_on_smaller_is_no_trouble():
    calm, loud = (_with_pods(*_runs(0, 1, 2), PENDING, client=client) for client in (SMALLER, RING))
    assert [["SiteTrouble" in e.reason for e in decision.events].count(True) for decision in (calm, loud)] == [0, 1]


def test_after_the_end_reasons_stay_as_they_were_though_the_pods_are_gone():
    pods = tuple(_runs(0, 1))
    before = _with_pods(*pods, _ended(2, 137, reason="OOMKilled"), client=RING).status["sites"]
    children = s.live_children(s.observe(clients=(RING, LYON)))
    status = s.outcome() | {"sites": before, "completionTime": s.ago(5)}
    status["conditions"] = [
        {"type": "Complete", "status": "True", "reason": "RoundsDone", "message": "", "lastTransitionTime": s.ago(5)}
    ]
    after = decide(s.observe(s.job(status), (RING, LYON), children), s.NOW).status["sites"]
    assert [(e["name"], e["reason"], e["message"]) for e in after] == [
        (e["name"], e["reason"], e["message"]) for e in before
    ]
    assert {e["name"]: e["ready"] for e in after} == {"berlin": 0, "lyon": 0}
