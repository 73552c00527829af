"""Policy initializing: the init Job is made once, and what an old release left of it is replaced."""

import copy

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def test_the_init_job_is_not_made_again_once_there_is_a_model():
    made = decide(s.observe(s.job(s.STARTED | {"model": s.MODEL})), s.NOW)
    assert not [o for o in made.objects if "init" in o["metadata"]["name"]]


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
