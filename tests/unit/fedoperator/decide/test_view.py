"""Pods, Jobs and JobSets as decisions see them, and what a process has left as its last words."""

import pytest

from fedapi import names
from fedoperator.decide.view import JobView, PodView, last_words
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

NOTE = "the process was ended inside the task's train(), by a signal or by a library's exit "
STACK = 'Current thread 0x01 (most recent call first):\n  File "lab.py", line 3 in train\n  File "session.py", line 9 in _train\n'
TOLD = (
    'Current thread 0x01 (most recent call first): File "lab.py", line 3 in train File "session.py", line 9 in _train'
)


MODULES = "\nExtension modules: numpy._core._multiarray_umath, torch._C (total: 20)\n"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one line\n", "one line"),
        ("INFO a log\nINFO its last line\n", "INFO its last line"),
        (NOTE, NOTE.strip()),
        (
            f"{NOTE}Fatal Python error: Segmentation fault\n\n{STACK}{MODULES}",
            f"{NOTE}Fatal Python error: Segmentation fault {TOLD}",
        ),
        (f"{NOTE}Fatal Python error: Aborted\n\n{STACK}", f"{NOTE}Fatal Python error: Aborted {TOLD}"),
        (f"INFO a log\nFatal Python error: Aborted\n\n{STACK}{MODULES}", f"Fatal Python error: Aborted {TOLD}"),
        (f"{STACK[20:]}{MODULES}", TOLD[20:]),
        ("Extension modules: torch._C\n", ""),
        ('{"level": "ERROR", "message": "no model"}\n', "no model"),
        ('{"message": "it failed", "error": "Traceback\\n  File\\nKeyError: 1"}', "it failed: KeyError: 1"),
        ('{"message": 1}', '{"message": 1}'),
        ('{"message": "cut of', '{"message": "cut of'),
        ("bo\x1b[2Jom \u202ework", "bo\\x1b[2Jom \\u202ework"),
        ('{"message": "\\u001b[2J\\ud800"}', "\\x1b[2J\\ud800"),
        ('{"":' * 1024, '{"":' * 1024),  # as much as a kubelet keeps: too deep for a parser
    ],
)
def test_last_words(message, said):
    assert last_words(message) == said


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


def test_pods_and_jobsets_as_decisions_see_them():
    labels = {names.LABEL_JOBSET: "ring", names.LABEL_JOBSET_INDEX: "2", names.LABEL_COMPLETION_INDEX: "3"}
    body = s.pod("trainer", "ring-slice-2", "a")
    body["metadata"]["labels"] |= labels
    body["metadata"]["annotations"] = {names.ANNOTATION_SLICE_HOSTS: "4"}
    pod = PodView.of(body)
    assert (pod.job, pod.index, pod.worker) == ("ring", 3, 11)
    plain = s.pod("trainer", "j", "a", meta={"annotations": {names.LABEL_COMPLETION_INDEX: "1"}})
    assert (PodView.of(plain).job, PodView.of(plain).index, PodView.of(plain).worker) == ("j", 1, 1)
    assert (PodView.of(s.pod("trainer", "j", "a")).index, PodView.of(s.pod("trainer", "j", "a")).worker) == (None, 0)
    condition = {"type": "Completed", "status": "True", "lastTransitionTime": s.ago(5)}
    live = m.rendered(m.tpu("4x4"), jobset=True) | {"status": {"conditions": [condition]}}
    view = JobView.of(live)
    assert (view.kind, view.complete, view.failed, view.suspended) == ("JobSet", True, False, False)
    assert view.completed is not None
    failed = JobView.of(live | {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}})
    assert (failed.complete, failed.failed, failed.message) == (False, True, "m")
