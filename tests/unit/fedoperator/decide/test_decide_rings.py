"""Rings of several workers, and queues: their objects, what their pods say together, who starts and stops their Jobs."""

import json

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Observed, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
RING = s.site("berlin", pool={"workers": 4})
SMALLER = s.site("berlin", pool={"workers": 4, "minWorkers": 2})
LYON = s.TWO_SITES[1]
SLICES = {"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}, "workers": 8}
SERVICE = names.ring_service_name("heart", "berlin")


def _keys(decision: Decision, *kinds: str) -> set[Key]:
    return {s.key(o) for o in decision.objects if o["kind"] in kinds and names.LABEL_CLIENT in o["metadata"]["labels"]}


def test_a_ring_has_its_service_and_its_policy_and_a_single_pod_has_none():
    decision = decide(s.observe(clients=(RING, LYON)), s.NOW)
    assert _keys(decision, "Service", "NetworkPolicy") == {Key("Service", SERVICE), Key("NetworkPolicy", SERVICE)}
    kinds = [o["kind"] for o in decision.objects]
    assert kinds.index("NetworkPolicy") < kinds.index("Job", kinds.index("NetworkPolicy"))


@pytest.mark.parametrize(
    ("clients", "state", "removed"),
    [
        ((RING, LYON), "Idle", False),
        ((LYON,), "Idle", True),  # the site left
        ((s.site("berlin"), LYON), "Idle", True),  # it lost its ring
        ((s.site("berlin"), LYON), "Training", False),  # … and its old Job still works on the round
    ],
)
def test_a_rings_objects_go_with_the_ring(clients, state, removed):
    children = s.live_children(s.observe(clients=(RING, LYON)))
    observed = s.observe(s.job(s.in_round(berlin=state)), clients, children)
    found = {key.kind for key in decide(observed, s.NOW).delete if key.name == SERVICE}
    assert found == ({"Service", "NetworkPolicy"} if removed else set())


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


def test_a_pool_that_needs_a_jobset_waits_for_one():
    clients = (s.site("berlin", pool=SLICES), LYON)
    without = decide(s.observe(clients=clients), s.NOW)
    assert {o["metadata"]["labels"][names.LABEL_CLIENT] for o in without.objects if o["kind"] == "Job" and names.LABEL_CLIENT in o["metadata"]["labels"]} == {"lyon"}  # fmt: skip
    assert s.site_reasons(without)["berlin"] == Reason.JOBSET_MISSING
    assert "install JobSet" in s.site_messages(without)["berlin"]
    config = next(o for o in without.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    assert json.loads(config)["roster"]["berlin"] == "JobSetMissing"
    assert _keys(without, "Service", "NetworkPolicy") == set()
    alone = decide(s.observe(s.job(s.STARTED | {"model": s.MODEL}), clients[:1]), s.NOW)
    assert s.condition(alone, "Progressing")[:2] == ("False", Reason.TOO_FEW_SITES)
    assert s.condition(alone, "Failed")[0] == "False"
    installed = decide(s.observe(clients=clients, jobset=True), s.NOW)
    assert [key.kind for key in _keys(installed, "JobSet")] == ["JobSet"]


def test_a_jobset_is_started_budgeted_and_replaced_like_a_job():
    clients = (s.site("berlin", pool=SLICES),)
    children = s.live_children(s.observe(clients=clients, jobset=True), suspended=True)
    name = s.job_name(s.observe(clients=clients, jobset=True), "berlin")
    status = s.in_round(berlin="Accepted")
    opened = decide(s.observe(s.job(status), clients, children, jobset=True), s.NOW)
    assert opened.suspend[name] is False
    changed = (s.site("berlin", pool=SLICES | {"nodeSelector": {"zone": "a"}}),)
    assert decide(s.observe(s.job(status), changed, children, jobset=True), s.NOW).delete == (Key("JobSet", name),)
    children[Key("JobSet", name)]["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}
    dead = s.ended(TRAINER, f"{name}-slice-1", "berlin", Exit.COLLECTIVE_MISSING, "no Horovod here", worker=2)
    dead["metadata"]["labels"] |= {names.LABEL_JOBSET: name, names.LABEL_JOBSET_INDEX: "1"}
    dead["metadata"]["annotations"] = {names.ANNOTATION_SLICE_HOSTS: "4"}
    over = decide(s.observe(s.job(status), clients, children, (dead,), jobset=True), s.NOW)
    assert s.site_reasons(over)["berlin"] == "CollectiveMissing"
    assert s.site_messages(over)["berlin"].startswith("worker 6: no Horovod here")


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
