"""Policy accepted: a job without sites, with too many of them, or with a spec that cannot be read."""

import pytest

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob, FederatedJobSpec
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.crd.task import Task
from fedapi.wire.job import JobConfig
from fedoperator.decide import accepted, sites
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s


def test_without_sites_nothing_is_made_and_the_condition_says_why():
    decision = decide(s.observe(clients=()), s.NOW)
    assert (decision.objects, decision.secrets, decision.delete) == ((), (), ())
    assert s.condition(decision, "Accepted")[:2] == ("False", Reason.NO_MATCHING_SITES)
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.NOT_ACCEPTED)
    assert decision.status["phase"] == "Pending"
    assert "startTime" not in decision.status


def test_a_job_under_way_goes_on_when_its_sites_leave():
    decision = decide(s.observe(s.job(s.in_round()), clients=()), s.NOW)
    assert [o["kind"] for o in decision.objects if o["kind"] == "Deployment"] == ["Deployment"]
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.NO_MATCHING_SITES)


def test_an_unreadable_spec_decides_accepted_only():
    good = decide(s.observe(), s.NOW)
    body = FederatedJob.model_construct(
        metadata=s.job().metadata,
        spec=FederatedJobSpec.model_construct(task=Task.model_construct(entrypoint="", image=""), rounds=1),
        status=FederatedJobStatus.model_validate(good.status),
    )
    decision = decide(s.observe(body, invalid="spec.rounds: must be at least 1"), s.NOW)
    assert s.condition(decision, "Accepted") == ("False", "InvalidSpec", "spec.rounds: must be at least 1")
    assert decision.status["startTime"] == good.status["startTime"]
    assert {c["type"] for c in decision.status["conditions"]} == {c["type"] for c in good.status["conditions"]}
    assert (decision.objects, decision.suspend, decision.delete) == ((), {}, ())


def _config(decision) -> str:
    return next(o["data"][names.CONFIG_FILE] for o in decision.objects if o["kind"] == "ConfigMap")


@pytest.fixture
def three(monkeypatch):
    """A job can have three sites."""
    for module in (accepted, sites):
        monkeypatch.setattr(module, "MAX_SITES", 3)


def test_one_too_many_and_nothing_is_made(three):
    three_sites, four = (tuple(s.site(name) for name in s.LONG[:count]) for count in (3, 4))
    assert s.condition(decide(s.observe(clients=three_sites), s.NOW), "Accepted")[0] == "True"
    decision = decide(s.observe(clients=four), s.NOW)
    assert (decision.objects, decision.secrets) == ((), ())
    value, reason, message = s.condition(decision, "Accepted")
    assert (value, reason) == ("False", Reason.TOO_MANY_SITES)
    assert message.startswith(
        "spec.clients.selector matches 4 FLClients, and a job takes at most 3: narrow the selector"
    )


def test_a_job_that_has_started_goes_on_with_its_oldest_sites(three):
    def at(name: str, day: int):
        client = s.site(name)
        meta = client.metadata.model_copy(update={"creation_timestamp": f"2026-11-{day:02d}T00:00:00Z"})
        return client.model_copy(update={"metadata": meta})

    clients = (at("a", 20), at("b", 10), at("c", 10), at("d", 11))
    decision = decide(s.observe(s.job({"startTime": s.ago(60)}), clients), s.NOW)
    assert s.condition(decision, "Accepted")[:2] == ("False", Reason.TOO_MANY_SITES)
    roster = JobConfig.model_validate_json(_config(decision)).roster
    assert [entry.name for entry in roster] == ["b", "c", "d"]


def test_a_job_that_holds_every_site_out_has_none_to_train():
    evaluation = {"heldOut": {"selector": {"matchLabels": {"role": "v"}}}}
    decision = decide(s.observe(s.job(evaluation=evaluation), clients=(s.site("a", {"role": "v"}),)), s.NOW)
    status, reason, message = s.condition(decision, "Accepted")
    assert (status, reason) == ("False", Reason.NO_MATCHING_SITES)
    assert "spec.evaluation.heldOut.selector holds all 1 sites out" in message
