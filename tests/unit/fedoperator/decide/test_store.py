"""Policy store: a lost claim is said, and no empty one takes its place."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

AGGREGATOR = names.ROLE_AGGREGATOR
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


def _init(children) -> Key:
    return next(k for k, c in children.items() if c["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_INIT)


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
