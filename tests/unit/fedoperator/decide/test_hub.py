"""Policy hub: what stands around an aggregator, and when its pod is a new one."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Key, Settings
from fedoperator.decide.job import decide
from fedoperator.desired.difference import differs
from tests.unit.fedoperator import samples as s

AROUND = ("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "NetworkPolicy", "Deployment")


@pytest.mark.parametrize(("suspend", "replicas"), [(False, 1), (True, 0)])
def test_an_aggregator_has_all_that_it_needs_in_the_order_in_which_it_needs_it(suspend, replicas):
    objects = decide(s.observe(s.job(suspend=suspend)), s.NOW).objects
    made = [o for o in objects if o["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_AGGREGATOR]
    assert [(o["kind"], o["metadata"]["name"]) for o in made] == [(kind, "heart-aggregator") for kind in AROUND]
    assert made[-1]["spec"]["replicas"] == replicas


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
