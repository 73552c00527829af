"""The model of round 0: who is let go when, what an old release left behind, what a pod of two containers says."""

import copy

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import PodView
from tests.unit.fedoperator import samples as s


def _init(children) -> Key:
    return next(k for k, c in children.items() if c["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_INIT)


def _of_the_first_release(children) -> Key:
    """The same children with an init Job of another template in place of ours."""
    ours = _init(children)
    old = Key("Job", "heart-init-0ldfa5e0")
    children[old] = copy.deepcopy(children.pop(ours))
    children[old]["metadata"]["name"] = old.name
    return old


def test_what_the_first_release_left_in_a_file_is_made_again():
    """Its init Job is complete, its aggregator was replaced before it had committed the file: nobody reads that now."""
    children = s.live_children(s.observe())
    old = _of_the_first_release(children)
    s.complete(children[old])
    decision = decide(s.observe(s.job(s.STARTED), children=children), s.NOW)
    assert old in decision.delete
    assert not [o for o in decision.objects if "init" in o["metadata"]["name"]], "one after the other"
    assert not [name for name, flag in decision.suspend.items() if flag is False]
    del children[old]
    made = decide(s.observe(s.job(s.STARTED), children=children), s.NOW).objects
    assert [o["spec"]["template"]["spec"]["containers"][0]["name"] for o in made if o["kind"] == "Job" and "init" in o["metadata"]["name"]] == ["handin"]  # fmt: skip


def test_a_job_of_the_first_release_that_has_a_model_goes_on_as_it_is():
    children = s.live_children(s.observe())
    old = _of_the_first_release(children)
    s.complete(children[old])
    decision = decide(s.observe(s.job(s.in_round(berlin="Training")), children=children), s.NOW)
    assert decision.delete == ()
    assert not [o for o in decision.objects if "init" in o["metadata"]["name"]]


def test_an_aggregator_on_an_empty_volume_is_ready_and_nobody_trains():
    """The claim is younger than the model: the aggregator answers, but the model is gone, and is not made twice."""
    children = s.live_children(s.observe(), suspended=True)
    init = children[_init(children)]
    s.complete(init)
    init["status"]["completionTime"] = s.ago(400)
    claim = next(key for key in children if key.kind == "PersistentVolumeClaim")
    children[claim]["metadata"]["creationTimestamp"] = s.ago(100)
    decision = decide(s.observe(s.job(s.STARTED), children=children), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        assert s.condition(decision, type_)[:2] == ("False", Reason.STORE_LOST)
    assert decision.suspend == {}


MADE = {"state": {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": s.ago(50)}}}
WAITS = {"state": {"waiting": {"reason": "PodInitializing"}}}
BROKEN = {"state": {"terminated": {"exitCode": 11, "reason": "Error", "message": "no module", "finishedAt": s.ago(50)}}}
UNPULLED = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
RUNS = {"state": {"running": {"startedAt": s.ago(5)}}}


@pytest.mark.parametrize(
    ("first", "last", "code", "waiting"),
    [
        (BROKEN, WAITS, 11, ""),
        (UNPULLED, WAITS, None, "ErrImagePull"),
        (MADE, UNPULLED, None, "ErrImagePull"),
        (MADE, RUNS, None, ""),
        (RUNS, WAITS, None, ""),
        (MADE, BROKEN, 11, ""),
        (MADE, MADE, 0, ""),
    ],
)
def test_a_pod_is_as_the_container_that_it_has_come_to(first, last, code, waiting):
    pod = s.pod(names.ROLE_INIT, "heart-init", container=last)
    pod["status"]["initContainerStatuses"] = [first]
    view = PodView.of(pod)
    assert (view.ended.code if view.ended else None) == code
    assert view.waiting[0] == waiting


def test_a_sidecar_says_nothing_of_a_pod():
    pod = s.pod(names.ROLE_TRAINER, "heart-train", container=BROKEN)
    pod["spec"] = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
    pod["status"]["initContainerStatuses"] = [{"name": "proxy", **RUNS}]
    view = PodView.of(pod)
    assert view.ended is not None
    assert view.ended.code == 11


def test_a_task_that_does_not_import_fails_the_job_with_its_words():
    children = s.live_children(s.observe())
    key = _init(children)
    s.failed(children[key], "Pod failed")
    pod = s.pod(names.ROLE_INIT, key.name, container=WAITS, phase="Failed")
    pod["status"]["initContainerStatuses"] = [BROKEN]
    decision = decide(s.observe(s.job(s.STARTED), children=children, pods=(pod,)), s.NOW)
    assert s.condition(decision, "Failed") == ("True", "TaskImportFailed", "the init Job failed: no module")
