"""Policy lifetime: how long a job may run, and how long it stays."""

from datetime import timedelta

from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s


def test_active_deadline():
    status = s.in_round() | {"startTime": s.ago(100)}
    children = s.live_children(s.observe())
    s.complete(children[Key("Job", s.init_name())])
    early = decide(s.observe(s.job(status, activeDeadlineSeconds=130), children=children), s.NOW)
    assert early.requeue_after == 30.0
    late = decide(s.observe(s.job(status, activeDeadlineSeconds=100), children=children), s.NOW)
    assert s.condition(late, "Failed")[:2] == ("True", Reason.DEADLINE_EXCEEDED)
    assert late.suspend == {s.job_name(s.observe(), name): True for name in ("berlin", "lyon")}


def test_time_to_live():
    recorded = dict(decide(s.observe(s.job(s.outcome())), s.NOW).status)
    observed = s.observe(s.job(s.outcome() | recorded, ttlSecondsAfterFinished=100))
    early = decide(observed, s.NOW)
    assert (early.delete_self, early.requeue_after) == (False, 90.0)
    assert decide(observed, s.NOW + timedelta(seconds=90)).delete_self
    unrecorded = s.observe(s.job(s.outcome(), ttlSecondsAfterFinished=0))
    assert not decide(unrecorded, s.NOW).delete_self  # the end is written down first
