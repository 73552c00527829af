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


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"homomorphicEncryption": {"threshold": 5}}, "privacy.homomorphicEncryption.threshold is 5"),
        ({"secureAggregation": {"colluding": 4}}, "privacy.secureAggregation needs 6"),
    ],
)
def test_a_sum_that_needs_more_sites_is_named_before_a_round(kind, said):
    sites = [s.site(name) for name in "abcd"]
    value, reason, message = progressing(*sites, privacy=kind)
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert message.startswith(f"{said}, 4 of 4 matching sites can take part: lower it")
    assert progressing(*sites, s.site("e"), s.site("f"), privacy=kind)[0] == "True"


@pytest.mark.parametrize("paused", [False, True])
def test_a_quorum_above_the_sites_that_can_take_part_is_named(paused):
    sites = [s.site("a"), s.site("b"), *([s.site("c", paused=True)] if paused else [])]
    value, reason, message = progressing(*sites, round=ROUND)
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert f"round.quorum is 3, above the 2 of {len(sites)} matching sites that can take part: lower it" in message


KRUM = {"name": "Krum", "krum": {"byzantine": 1}}


def test_a_strategy_that_needs_more_sites_is_named_before_a_round():
    sites = [s.site(name) for name in "abcd"]
    value, reason, message = progressing(*sites, strategy=KRUM)
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert message.startswith("strategy Krum needs 5 sites, 4 of 4 matching sites can take part: add or unpause sites")
    assert progressing(*sites, s.site("e"), strategy=KRUM)[0] == "True"


@pytest.mark.parametrize("paused", [True, False])
def test_a_root_client_that_cannot_take_part_is_named_before_a_round(paused):
    strategy = {"name": "FLTrust", "flTrust": {"rootClient": "hub"}}
    sites = [s.site("a"), s.site("b")]
    others = [s.site("hub", paused=True)] if paused else []
    value, reason, message = progressing(*sites, *others, strategy=strategy)
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert message.startswith("no round is made without strategy.flTrust.rootClient 'hub', which is no matching site")
    assert progressing(*sites, s.site("hub"), strategy=strategy)[0] == "True"


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


def test_a_strategy_waits_in_vain_for_a_site_that_failed_for_good():
    names = "abcde"
    job = s.job(s.in_round(), strategy=KRUM)
    sites = [s.site(name) for name in names]
    observed = s.observe(job, sites)
    children = s.live_children(observed)
    s.failed(children[Key("Job", s.job_name(observed, "c"))], "exit code 12")
    value, reason, message = s.condition(decide(s.observe(job, sites, children=children), s.NOW), "Progressing")
    assert (value, reason) == ("False", Reason.TOO_FEW_SITES)
    assert message == "4 of 5 sites can take part, strategy Krum needs 5: see status.sites"


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


def test_an_attempt_that_failed_otherwise_is_not_said_to_have_missed_its_quorum():
    status = s.in_round()
    status["round"] |= {"attempt": 2, "committed": 2, "lastFailure": "SecureAggregationFailed"}
    decision = decide(s.observe(s.job(status)), s.NOW)
    status, reason, message = s.condition(decision, "QuorumReached")
    assert (status, reason) == ("False", "AttemptFailed")
    assert "the last by SecureAggregationFailed" in message
    assert [event.reason for event in decision.events if "SecureAggregation" in event.message] == ["AttemptFailed"]
