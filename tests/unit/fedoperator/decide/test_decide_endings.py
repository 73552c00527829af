"""Acceptance, pending pods, endings and what is cleaned up after them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob, FederatedJobSpec, Task
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import secrets_of
from fedoperator.desired.difference import differs
from tests.unit.fedoperator import samples as s

TRAINER, INIT, AGGREGATOR = names.ROLE_TRAINER, names.ROLE_INIT, names.ROLE_AGGREGATOR



def test_another_controllers_or_a_deleted_job_is_left_alone():
    assert decide(s.observe(s.job(managedBy="other.example/x")), s.NOW) == Decision()
    assert decide(s.observe(s.job(meta={"deletionTimestamp": s.ago(1)})), s.NOW) == Decision()


def test_without_sites_nothing_is_made_and_the_condition_says_why():
    decision = decide(s.observe(clients=()), s.NOW)
    assert (decision.objects, decision.secrets, decision.delete) == ((), (), ())
    assert s.condition(decision, "Accepted")[:2] == ("False", Reason.NO_MATCHING_SITES)
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.NOT_ACCEPTED)
    assert decision.status["phase"] == "Pending"
    assert "startTime" not in decision.status


def test_a_job_under_way_goes_on_when_its_sites_leave():
    decision = decide(s.observe(s.job(s.in_round()), clients=()), s.NOW)
    assert [o["kind"] for o in decision.objects if o["kind"] == "Deployment"] == ["Deployment"]
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.NO_MATCHING_SITES)


def test_an_unreadable_spec_decides_accepted_only():
    good = decide(s.observe(), s.NOW)
    body = FederatedJob.model_construct(
        metadata=s.job().metadata,
        spec=FederatedJobSpec.model_construct(task=Task.model_construct(entrypoint="", image=""), rounds=1),
        status=FederatedJobStatus.model_validate(good.status),
    )
    decision = decide(s.observe(body, invalid="spec.rounds: must be at least 1"), s.NOW)
    assert s.condition(decision, "Accepted") == ("False", "InvalidSpec", "spec.rounds: must be at least 1")
    assert decision.status["startTime"] == good.status["startTime"]
    assert {c["type"] for c in decision.status["conditions"]} == {c["type"] for c in good.status["conditions"]}
    assert (decision.objects, decision.suspend, decision.delete) == ((), {}, ())


_IMAGE = ("ImagePullBackOff", 'Back-off pulling image "registry.example/heart:1"')
PENDING = [
    # pod, site reason, words of the message
    (s.waiting(TRAINER, "J", "berlin", *_IMAGE, created_s_ago=5), Reason.IMAGE_ERROR, ["registry.example/heart:1"]),
    (s.waiting(TRAINER, "J", "berlin", "InvalidImageName", created_s_ago=5), Reason.IMAGE_ERROR, ["InvalidImageName"]),
    (
        s.waiting(TRAINER, "J", "berlin", "CreateContainerConfigError", 'secret "x" not found', created_s_ago=5),
        Reason.CONFIG_ERROR,
        ['secret "x" not found'],
    ),
    (
        s.unplaced(TRAINER, "J", "berlin", "0/3 nodes are available: 1 Insufficient cpu, 3 Insufficient nvidia.com/gpu. preemption: 0/3"),
        Reason.UNSCHEDULABLE,
        ["cpu, nvidia.com/gpu", "waiting for capacity"],
    ),
    (
        s.unplaced(TRAINER, "J", "berlin", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: x"),
        Reason.UNSCHEDULABLE,
        ["didn't match Pod's node affinity"],
    ),
    (
        s.unplaced(TRAINER, "J", "berlin", 'persistentvolumeclaim "mri" not found. preemption: x'),
        Reason.VOLUME_MISSING,
        ["PersistentVolumeClaim mri not found"],
    ),
    (
        s.waiting(TRAINER, "J", "berlin", "ContainerCreating", volumes=({"name": "d", "configMap": {"name": "rows"}},)),
        Reason.MOUNT_PENDING,
        ["ConfigMap rows"],
    ),
    (s.waiting(TRAINER, "J", "berlin", "ContainerCreating", created_s_ago=5), Reason.STARTING, []),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "reason", "words"), PENDING, ids=lambda value: str(value)[:24])
def test_a_pending_pod_tells_why(pod, reason, words):
    name = s.job_name(s.observe(), "berlin")
    pod["metadata"]["ownerReferences"][0]["name"] = name
    observed = s.observe(s.job(s.in_round()), children=s.live_children(s.observe()), pods=(pod,))
    decision = decide(observed, s.NOW)
    assert s.site_reasons(decision)["berlin"] == reason
    assert all(word in s.site_messages(decision)["berlin"] for word in words)
    assert s.condition(decision, "Progressing")[0] == "True"  # other sites train


def test_a_site_pending_too_long_before_the_first_round_stops_progress_without_failing():
    name = s.job_name(s.observe(), "berlin")
    children, status = s.live_children(s.observe()), s.STARTED | {"model": s.MODEL}
    short = s.unplaced(TRAINER, name, "berlin", "3 Insufficient nvidia.com/gpu.", created_s_ago=590)
    early = decide(s.observe(s.job(status), children=children, pods=(short,)), s.NOW)
    assert s.condition(early, "Progressing")[:2] == ("True", Reason.WAITING_FOR_SITES)
    assert early.requeue_after == 10.0
    late = decide(s.observe(s.job(status), children=children, pods=(short,)), s.NOW + timedelta(seconds=10))
    assert s.condition(late, "Progressing")[:2] == ("False", Reason.UNSCHEDULABLE)
    assert s.condition(late, "Failed")[0] == "False"


@pytest.mark.parametrize("role", [AGGREGATOR, INIT])
@pytest.mark.parametrize(
    ("pod", "failed"),
    [
        (("ErrImagePull", "not found"), True),
        (None, False),  # no capacity: waits, and says so
    ],
)
def test_the_hubs_pods_fail_the_job_for_images_only(role, pod, failed):
    name = s.init_name() if role == INIT else ""
    made = s.waiting(role, name, "", *pod) if pod else s.unplaced(role, name, "", "2 Insufficient memory.")
    children = s.live_children(s.observe(), ready=False)
    decision = decide(s.observe(s.job(s.STARTED), children=children, pods=(made,)), s.NOW)
    assert s.condition(decision, "Failed")[:2] == (
        ("True", Reason.IMAGE_ERROR) if failed else ("False", Reason.NOT_FINISHED)
    )
    expected = Reason.FINISHED if failed else Reason.UNSCHEDULABLE
    assert s.condition(decision, "Progressing")[:2] == ("False", expected)
    if not failed:
        assert "memory" in s.condition(decision, "Progressing")[2]


def test_an_image_that_is_gone_in_mid_job_is_said_and_waited_for():
    made = s.waiting(AGGREGATOR, "", "", "ImagePullBackOff", "not found", created_s_ago=3600)
    children = s.live_children(s.observe(), ready=False)
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=(made,)), s.NOW)
    assert s.condition(decision, "Failed")[0] == "False"
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (status, reason) == ("False", Reason.IMAGE_ERROR)
        assert "not found" in message


def test_an_upgraded_operator_changes_the_aggregators_image_and_no_training_job():
    children = s.live_children(s.observe())
    s.complete(children[Key("Job", s.init_name())])
    newer = Settings(aggregator_image="registry.example/fedloom-aggregator:0.2.0")
    observed = s.observe(s.job(s.in_round(berlin="Training")), children=children, settings=newer)
    decision = decide(observed, s.NOW)
    (changed,) = [o for o in decision.objects if differs(o, children.get(s.key(o)))]
    assert (changed["kind"], changed["spec"]["strategy"]) == ("Deployment", {"type": "Recreate"})
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == newer.aggregator_image
    assert (decision.delete, decision.suspend) == ((), {})
    between = s.live_children(s.observe(), ready=False)  # the old pod is gone, the new one is not ready
    assert decide(s.observe(observed.job, children=between, settings=newer), s.NOW).suspend == {}


CLAIM = Key("PersistentVolumeClaim", names.store_claim_name("heart", s.UID))


@pytest.mark.parametrize(
    ("claim", "words"), [(None, "is gone: restore it under this name"), (50, "is younger than the model"), (500, "")]
)
def test_a_lost_store_is_said_and_no_empty_claim_takes_its_place(claim, words):
    children = s.live_children(s.observe(), ready=False)
    init = children[Key("Job", s.init_name())]
    s.complete(init)
    init["status"]["completionTime"] = s.ago(400)
    children[CLAIM]["metadata"]["creationTimestamp"] = s.ago(claim or 500)
    made = s.pod(AGGREGATOR, container={"state": {"running": {}}})
    if claim is None:
        del children[CLAIM]
        made = s.unplaced(AGGREGATOR, "", "", f'persistentvolumeclaim "{CLAIM.name}" not found. preemption: x')
    decision = decide(s.observe(s.job(s.in_round()), children=children, pods=(made,)), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (reason == Reason.STORE_LOST) is bool(words)
        assert words in message
        assert not words or (status == "False" and CLAIM.name in message and "create the job anew" in message)
    assert (CLAIM in {s.key(o) for o in decision.objects}) is (claim is not None)
    assert (s.condition(decision, "Failed")[0], decision.suspend) == ("False", {})
    children[Key("Deployment", "heart-aggregator")]["status"] = {"readyReplicas": 1}
    restored = decide(s.observe(s.job(s.in_round()), children=children), s.NOW)
    assert s.condition(restored, "Progressing")[:2] == ("True", Reason.TRAINING)


def test_an_image_error_counts_from_the_time_the_pod_got_a_node():
    made = s.waiting(AGGREGATOR, "", "", "ErrImagePull", created_s_ago=3600, placed_s_ago=30)
    decision = decide(s.observe(s.job(s.STARTED), pods=(made,)), s.NOW)
    assert s.condition(decision, "Failed")[0] == "False"
    assert s.condition(decision, "AggregatorReady")[:2] == ("False", Reason.IMAGE_ERROR)


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


@pytest.mark.parametrize(("code", "named"), [(Exit.STORE_FAILED, "StoreFailed"), (Exit.STORE_DAMAGED, "StoreDamaged")])
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


def test_active_deadline():
    status = s.in_round() | {"startTime": s.ago(100)}
    children = s.live_children(s.observe())
    s.complete(children[Key("Job", s.init_name())])
    early = decide(s.observe(s.job(status, activeDeadlineSeconds=130), children=children), s.NOW)
    assert early.requeue_after == 30.0
    late = decide(s.observe(s.job(status, activeDeadlineSeconds=100), children=children), s.NOW)
    assert s.condition(late, "Failed")[:2] == ("True", Reason.DEADLINE_EXCEEDED)
    assert late.suspend == {s.job_name(s.observe(), name): True for name in ("berlin", "lyon")}



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


def test_time_to_live():
    recorded = dict(decide(s.observe(s.job(s.outcome())), s.NOW).status)
    observed = s.observe(s.job(s.outcome() | recorded, ttlSecondsAfterFinished=100))
    early = decide(observed, s.NOW)
    assert (early.delete_self, early.requeue_after) == (False, 90.0)
    assert decide(observed, s.NOW + timedelta(seconds=90)).delete_self
    unrecorded = s.observe(s.job(s.outcome(), ttlSecondsAfterFinished=0))
    assert not decide(unrecorded, s.NOW).delete_self  # the end is written down first


def test_the_first_ending_is_kept_for_good():
    recorded = dict(decide(s.observe(s.job(s.in_round(), activeDeadlineSeconds=1)), s.NOW).status)
    later = s.observe(s.job(s.outcome() | recorded, activeDeadlineSeconds=1))
    assert decide(later, s.NOW).status is None


@pytest.mark.parametrize(
    ("status", "pods", "phase", "reason"),
    [
        (s.STARTED, (), "Pending", "Initializing"),
        (s.STARTED, (s.running(AGGREGATOR),), "Initializing", "Initializing"),
        (s.STARTED | {"model": s.MODEL}, (s.running(AGGREGATOR),), "Waiting", "WaitingForSites"),
        (s.in_round(), (), "Running", "Training"),
    ],
)
def test_phase_and_progress(status, pods, phase, reason):
    decision = decide(s.observe(s.job(status), pods=pods), s.NOW)
    assert decision.status["phase"] == phase
    assert s.condition(decision, "Progressing")[:2] == ("True", reason)


def test_too_few_sites_for_the_first_round():
    decision = decide(s.observe(s.job(s.STARTED | {"model": s.MODEL}, clients={"minAvailable": 3})), s.NOW)
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.TOO_FEW_SITES)


@pytest.mark.parametrize(
    ("attempt", "committed", "expected"),
    [(1, 0, ("Unknown", "NoRoundYet")), (1, 2, ("True", "QuorumReached")), (2, 2, ("False", "QuorumMissed"))],
)
def test_quorum_is_about_the_newest_closed_round(attempt, committed, expected):
    status = s.in_round()
    status["round"] |= {"attempt": attempt, "committed": committed}
    decision = decide(s.observe(s.job(status)), s.NOW)
    assert s.condition(decision, "QuorumReached")[:2] == expected


def test_transition_times_stay_while_the_status_stays_and_events_come_once():
    first = decide(s.observe(), s.NOW)
    assert [e.reason for e in first.events] == ["Accepted"]
    later = s.NOW + timedelta(seconds=30)
    second = decide(s.observe(s.job(dict(first.status), meta={"generation": 2})), later)
    assert second.events == ()
    before = {c["type"]: c["lastTransitionTime"] for c in first.status["conditions"]}
    assert {c["type"]: c["lastTransitionTime"] for c in second.status["conditions"]} == before
    assert second.status["observedGeneration"] == 2
    assert second.status["startTime"] == first.status["startTime"]
    third = decide(s.observe(s.job(dict(second.status), meta={"generation": 2}, suspend=True)), later)
    assert [e.reason for e in third.events] == ["Suspended"]
    fourth = decide(s.observe(s.job(dict(third.status), meta={"generation": 2})), later)
    assert [e.reason for e in fourth.events] == ["Resumed"]


def test_a_lost_aggregator_is_an_event():
    ready = decide(s.observe(s.job(s.in_round()), children=s.live_children(s.observe())), s.NOW)
    status = s.in_round() | dict(ready.status)
    lost = decide(s.observe(s.job(status), children=s.live_children(s.observe(), ready=False)), s.NOW)
    assert [(e.type, e.reason) for e in lost.events] == [("Warning", "AggregatorLost")]


def test_the_sites_list_is_bounded_with_trouble_first():
    clients = tuple(s.site(f"site-{i:03}") for i in range(120))
    observed = s.observe(s.job(s.in_round()), clients)
    children = s.live_children(observed)
    s.failed(children[Key("Job", s.job_name(observed, "site-119"))], "exit code 12")
    sites = decide(s.observe(observed.job, clients, children), s.NOW).status["sites"]
    assert len(sites) == 100
    assert (sites[0]["name"], sites[0]["reason"]) == ("site-119", "DataMissing")


def test_children_of_a_deleted_namesake_are_removed_first():
    children = s.live_children(s.observe())
    service = children[Key("Service", "heart-aggregator")]
    service["metadata"]["labels"][names.LABEL_JOB_UID] = "older"
    service["metadata"]["ownerReferences"][0]["uid"] = "older"
    decision = decide(s.observe(s.job(s.STARTED), children=children), s.NOW)
    assert decision.delete == (Key("Service", "heart-aggregator"),)
    assert "Service" not in {o["kind"] for o in decision.objects}


def test_secrets_are_asked_for_until_they_exist():
    wanted = decide(s.observe(), s.NOW).secrets
    assert [(r.kind, r.client) for r in wanted] == [
        ("Aggregator", ""),
        ("Init", ""),
        ("Site", "berlin"),
        ("Site", "lyon"),
    ]
    assert wanted[0].hosts[-1] == "heart-aggregator.research.svc.cluster.local"
    assert decide(s.observe(secrets=frozenset(r.name for r in wanted)), s.NOW).secrets == ()


def test_the_init_job_is_not_made_again_once_there_is_a_model():
    made = decide(s.observe(s.job(s.STARTED | {"model": s.MODEL})), s.NOW)
    assert not [o for o in made.objects if "init" in o["metadata"]["name"]]


@pytest.mark.parametrize(("account_s_ago", "rolled"), [(100, False), (90, False), (5, True)])
def test_an_account_that_is_younger_than_the_deployment_gets_it_a_new_pod(account_s_ago, rolled):
    """The token in the old pod is void, though nothing about the pod has changed."""
    children = s.live_children(s.observe())
    children[Key("Deployment", "heart-aggregator")]["metadata"]["creationTimestamp"] = s.ago(90)
    account = children[Key("ServiceAccount", "heart-aggregator")]
    account["metadata"] |= {"creationTimestamp": s.ago(account_s_ago), "uid": "new"}
    made = decide(s.observe(s.job(s.STARTED), children=children), s.NOW).objects
    template = next(o for o in made if o["kind"] == "Deployment")["spec"]["template"]["metadata"]
    assert template.get("annotations", {}) == ({names.ANNOTATION_ACCOUNT: "new"} if rolled else {})


def test_a_status_that_is_refused_makes_the_aggregator_not_ready_with_a_way_out():
    children = s.live_children(s.observe(), ready=False)
    told = s.ended(names.ROLE_AGGREGATOR, "", "", Exit.STATUS_REFUSED, "the job's status may not be written: 401")
    decision = decide(s.observe(s.job(s.in_round(berlin="Training")), children=children, pods=(told,)), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (status, reason) == ("False", "StatusRefused")
        assert "ServiceAccount" in message


def test_with_new_keys_all_of_a_job_starts_again_at_once_and_says_why():
    """Sites at work, too: their tokens are of no use to the aggregator that has the new keys."""
    job = s.job(s.in_round(berlin="Training", lyon="Training"))
    children = s.live_children(s.observe(job))
    renewed = replace(s.SETTINGS, keys_id="k2")
    decision = decide(s.observe(job, children=children, settings=renewed), s.NOW)
    assert {key.name for key in decision.delete} == {s.job_name(s.observe(job), name) for name in ("berlin", "lyon")}
    assert s.condition(decision, "Progressing")[:2] == ("True", Reason.KEYS_REPLACED)
    assert [e.reason for e in decision.events if e.type == "Warning"] == ["KeysReplaced"]
    requested = {request.name for request in decision.secrets}
    assert len(requested) == 4
    assert not requested & {request.name for request in decide(s.observe(job), s.NOW).secrets}
    template = next(o for o in decision.objects if o["kind"] == "Deployment")["spec"]["template"]
    assert set(secrets_of(template)) < requested
    after = s.live_children(s.observe(job, settings=renewed))
    settled = decide(s.observe(job, children=after, settings=renewed), s.NOW)
    assert s.condition(settled, "Progressing")[1] == Reason.TRAINING
    assert settled.delete == ()
