"""Policy pending: pods that do not start, by what they wait for."""

from datetime import timedelta

import pytest

from fedapi import names
from fedoperator.decide.job import decide
from fedoperator.decide.pending import lacks_source
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import PodView
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
INIT = names.ROLE_INIT
AGGREGATOR = names.ROLE_AGGREGATOR


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


def test_an_image_error_counts_from_the_time_the_pod_got_a_node():
    made = s.waiting(AGGREGATOR, "", "", "ErrImagePull", created_s_ago=3600, placed_s_ago=30)
    decision = decide(s.observe(s.job(s.STARTED), pods=(made,)), s.NOW)
    assert s.condition(decision, "Failed")[0] == "False"
    assert s.condition(decision, "AggregatorReady")[:2] == ("False", Reason.IMAGE_ERROR)


SANDBOXED = {"type": "PodReadyToStartContainers", "status": "True"}
CREATING = s.waiting(TRAINER, "J", "berlin", "ContainerCreating")
PULLING = s.waiting(TRAINER, "J", "berlin", "ContainerCreating")
PULLING["status"]["conditions"].append(SANDBOXED)


@pytest.mark.parametrize(
    ("pod", "lacks"),
    [
        (CREATING, True),
        (PULLING, False),
        (s.waiting(TRAINER, "J", "berlin", "CreateContainerConfigError"), True),
        (s.waiting(TRAINER, "J", "berlin", "ErrImagePull"), False),
        (s.unplaced(TRAINER, "J", "berlin", "3 Insufficient cpu."), False),
        (s.running(TRAINER, "J", "berlin"), False),
    ],
    ids=["mounts", "pulls", "configuration", "image", "no node", "runs"],
)
def test_what_a_pod_mounts_may_be_gone(pod, lacks):
    assert lacks_source(PodView.of(pod)) is lacks
