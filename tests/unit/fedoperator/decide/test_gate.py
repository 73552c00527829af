"""Policy gate: which Jobs are let go, and which are stopped."""

import pytest

from fedoperator.decide.decision import Key, Observed
from fedoperator.decide.job import decide
from fedoperator.decide.view import QUEUE_LABEL
from tests.unit.fedoperator import samples as s


def _flips(observed: Observed) -> dict[str, bool]:
    return dict(decide(observed, s.NOW).suspend)


def test_gate_opens_when_the_aggregator_is_ready_and_never_before():
    closed = s.observe(children=s.live_children(s.observe(), ready=False, suspended=True))
    assert _flips(closed) == {}
    children = s.live_children(s.observe(), ready=True, suspended=True)
    init = next(key for key in children if key.kind == "Job" and "init" in key.name)
    children[init]["spec"]["suspend"] = True
    assert _flips(s.observe(children=children)) == {init.name: False}, "first somebody has to make a model"
    children[init]["spec"]["suspend"] = False
    assert _flips(s.observe(children=children)) == {}
    s.complete(children[init])
    opened = s.observe(children=children)
    assert _flips(opened) == {s.job_name(opened, name): False for name in ("berlin", "lyon")}
    assert s.site_reasons(decide(closed, s.NOW)) == {"berlin": "AwaitingAggregator", "lyon": "AwaitingAggregator"}


def test_an_aggregator_that_restarts_stops_nobody():
    assert _flips(s.observe(children=s.live_children(s.observe(), ready=False))) == {}


def test_a_rollout_under_way_is_not_ready():
    children = s.live_children(s.observe(), suspended=True)
    deployment = children[Key("Deployment", "heart-aggregator")]
    deployment["metadata"]["generation"], deployment["status"]["observedGeneration"] = 3, 2
    assert _flips(s.observe(children=children)) == {}


def test_suspend_stops_all_but_what_a_queue_admits_and_resume_starts_again():
    children = s.live_children(s.observe())
    queued, free = s.job_name(s.observe(), "berlin"), s.job_name(s.observe(), "lyon")
    init = next(k.name for k in children if k.kind == "Job" and "init" in k.name)
    children[Key("Job", queued)]["metadata"]["labels"][QUEUE_LABEL] = "gpu"
    stopped = decide(s.observe(s.job(suspend=True, status=s.STARTED), children=children), s.NOW)
    assert stopped.suspend == {free: True, init: True}
    assert [o["spec"]["replicas"] for o in stopped.objects if o["kind"] == "Deployment"] == [0]
    assert s.condition(stopped, "Suspended")[0] == "True"
    assert stopped.status["phase"] == "Suspended"
    for name in (free, init):
        children[Key("Job", name)]["spec"]["suspend"] = True
    again = decide(s.observe(s.job(status=s.STARTED), children=children), s.NOW)
    assert again.suspend == {init: False}
    with_model = s.job(status=s.STARTED | {"model": s.MODEL})
    assert decide(s.observe(with_model, children=children), s.NOW).suspend[free] is False
    assert [o["spec"]["replicas"] for o in again.objects if o["kind"] == "Deployment"] == [1]


@pytest.mark.parametrize(("state", "flip"), [("Training", {}), ("Accepted", True), ("Idle", True)])
def test_a_paused_site_stops_when_its_round_is_over(state, flip):
    clients = (s.site("berlin", paused=True), s.site("lyon"))
    observed = s.observe(s.job(s.in_round(berlin=state)), clients, s.live_children(s.observe(clients=clients)))
    assert _flips(observed) == ({s.job_name(observed, "berlin"): flip} if flip else {})


def test_after_the_end_what_still_runs_is_stopped():
    children = s.live_children(s.observe())
    for name in (s.init_name(), s.job_name(s.observe(), "berlin")):
        s.complete(children[Key("Job", name)])
    ended = s.observe(s.job(s.outcome(seconds_ago=61)), children=children)
    assert _flips(ended) == {s.job_name(s.observe(), "lyon"): True}
    children[Key("Job", s.job_name(s.observe(), "lyon"))]["spec"]["suspend"] = True
    assert _flips(ended) == {}
