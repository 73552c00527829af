"""Policy podless: refused pods are named in the quota's words, and only Jobs that lack some are asked about."""

import pytest

from fedapi import names
from fedoperator.decide import podless
from fedoperator.decide.decision import Key, PodRefusal
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

QUOTA = 'pods "heart-x-7cm2k" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
LATE = PodRefusal(QUOTA, s.ago(1))
TOLD = "is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"


def _children(seconds_ago: float = 11, **job: object):
    observed = s.observe(s.job(s.STARTED | job.pop("status", {}), **job))
    children = s.live_children(observed, ready=False)
    for key, child in children.items():
        if key.kind == "Job":
            child["spec"]["suspend"] = False
            child["status"] = {"startTime": s.ago(seconds_ago)}
    return observed, children


def _name(children, role: str, client: str = "") -> str:
    labels = {names.LABEL_ROLE: role} | ({names.LABEL_CLIENT: client} if client else {})
    jobs = (c for key, c in children.items() if key.kind == "Job")
    return next(c["metadata"]["name"] for c in jobs if labels.items() <= c["metadata"]["labels"].items())


def test_only_jobs_that_lack_pods_are_looked_up():
    observed, children = _children()
    names_ = {"init": _name(children, "init"), "berlin": _name(children, "trainer", "berlin")}
    pods = (s.running("trainer", _name(children, "trainer", "lyon"), "lyon"),)

    def lacking(pods=pods):
        found = podless.lacking(s.observe(observed.job, children=children, pods=pods), s.NOW)
        return {body["metadata"]["name"] for body in found}

    assert lacking() == set(names_.values())
    assert lacking((*pods, s.waiting("init", names_["init"], "", "ErrImagePull"))) == {names_["berlin"]}
    children[Key("Job", names_["berlin"])]["spec"]["suspend"] = True
    assert lacking() == {names_["init"]}
    s.failed(children[Key("Job", names_["init"])])
    assert lacking() == set()


def test_a_new_job_is_given_time_and_looked_at_by_the_clock():
    observed, children = _children(seconds_ago=4)
    live = s.observe(observed.job, children=children)
    assert podless.lacking(live, s.NOW) == ()
    assert decide(live, s.NOW).requeue_after == 6


@pytest.mark.parametrize("note", [f"Error creating: {QUOTA}", QUOTA])
@pytest.mark.parametrize("role", ["init", "trainer"])
def test_a_refusal_of_a_jobs_pods_holds_progress_up_in_the_clusters_words(role, note):
    observed, children = _children()
    name = _name(children, role)
    refused = s.observe(observed.job, children=children, podless={name: PodRefusal(note, s.ago(1))})
    status, reason, message = s.condition(decide(refused, s.NOW), "Progressing")
    assert (status, reason) == ("False", Reason.PODS_REFUSED)
    assert message.endswith(TOLD)
    assert "7cm2k" not in message, "which differs with every attempt"


def test_a_site_whose_pods_are_refused_says_so_and_in_mid_job_holds_nobody_up():
    observed, children = _children(status=s.in_round(berlin="Waiting", lyon="Training"))
    refused = s.observe(observed.job, children=children, podless={_name(children, "trainer", "berlin"): LATE})
    decision = decide(refused, s.NOW)
    assert s.site_reasons(decision)["berlin"] == Reason.PODS_REFUSED
    assert s.condition(decision, "Progressing")[0] == "True"


def test_a_refusal_that_is_older_than_a_pod_is_over():
    observed, children = _children(status=s.in_round(berlin="Waiting", lyon="Training"))
    name = _name(children, "trainer", "berlin")
    pod = s.ended("trainer", name, "berlin", 1, "boom", created_s_ago=5, at=2)
    old = s.observe(observed.job, children=children, pods=(pod,), podless={name: PodRefusal(QUOTA, s.ago(60))})
    assert s.site_reasons(decide(old, s.NOW))["berlin"] == "ExitCode1"


def test_a_deployment_whose_pods_are_refused_is_named_until_it_has_one():
    observed, children = _children()
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
    children[Key("Deployment", "heart-aggregator")]["status"] = {"conditions": [failure]}
    decision = decide(s.observe(observed.job, children=children), s.NOW)
    for type_ in ("AggregatorReady", "Progressing"):
        status, reason, message = s.condition(decision, type_)
        assert (status, reason) == ("False", Reason.PODS_REFUSED)
        assert message.endswith(TOLD)
    pod = s.waiting("aggregator", "", "", "ContainerCreating", created_s_ago=1)
    again = decide(s.observe(observed.job, children=children, pods=(pod,)), s.NOW)
    assert s.condition(again, "AggregatorReady")[1] == Reason.STARTING
