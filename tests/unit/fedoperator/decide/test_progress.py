"""Policy progress: what holds a job up is a false Progressing condition with the way out; and the quorum's condition."""

import pytest

from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

ROUND = {"quorum": 3}


def progressing(*sites, status=None, **spec):
    observed = s.observe(s.job(status, **spec), sites)
    return s.condition(decide(observed, s.NOW), "Progressing")


@pytest.mark.parametrize("paused", [False, True])
def test_a_quorum_above_the_sites_that_can_take_part_is_named(paused):
    sites = [s.site("a"), s.site("b"), *([s.site("c", paused=True)] if paused else [])]
    value, reason, message = progressing(*sites, round=ROUND)
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert f"round.quorum is 3, above the 2 of {len(sites)} matching sites that can take part: lower it" in message


@pytest.mark.parametrize("quorum", [2, "100%"])
def test_a_quorum_that_can_be_reached_holds_nothing_up(quorum):
    assert progressing(s.site("a"), s.site("b"), round={"quorum": quorum})[0] == "True"


@pytest.mark.parametrize("status", [s.STARTED | {"model": s.MODEL}, s.in_round()], ids=["first round", "later"])
@pytest.mark.parametrize(
    ("spec", "field"), [({"round": {"quorum": 2}}, "round.quorum"), ({"clients": {"minAvailable": 2}}, "minAvailable")]
)
def test_a_site_that_failed_for_good_is_waited_for_in_vain(status, spec, field):
    job = s.job(status, **spec)
    children = s.live_children(s.observe(job))
    s.failed(children[Key("Job", s.job_name(s.observe(job), "lyon"))], "exit code 12")
    decision = decide(s.observe(job, children=children), s.NOW)
    value, reason, message = s.condition(decision, "Progressing")
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert message.startswith("1 of 2 sites can take part, ")
    assert message.endswith(f"{field} is 2: see status.sites")


def test_a_round_under_way_may_have_the_update_of_a_site_that_failed_since():
    job = s.job(s.in_round(berlin="Training", lyon="Accepted"), round={"quorum": 2})
    children = s.live_children(s.observe(job))
    s.failed(children[Key("Job", s.job_name(s.observe(job), "lyon"))], "exit code 12")
    decision = decide(s.observe(job, children=children), s.NOW)
    assert s.condition(decision, "Progressing")[:2] == ("True", Reason.TRAINING)


def test_a_store_that_cannot_be_written_is_told():
    trouble = "the store cannot be written, it is tried again: no space left on device"
    value, reason, message = progressing(s.site("a"), status={"trouble": trouble})
    assert (value, reason, message) == ("False", Reason.STORE_FAILING, trouble)


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
