"""Policy strata: what the roster says of each site's stratum, and how many there may be."""

import json

import pytest

from fedapi import names
from fedapi.crd.clients import Strata
from fedapi.wire.job import JobConfig
from fedoperator.decide import accepted, strata
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

GPU = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 1}


def config(decision) -> JobConfig:
    return JobConfig.model_validate_json(
        next(o["data"][names.CONFIG_FILE] for o in decision.objects if o["kind"] == "ConfigMap")
    )


def stratified(**by):
    return {"policy": "Stratified", "perRound": 2, "stratified": by}


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ({"fields": ["Provider"]}, "AWS"),
        ({"fields": ["Region", "Provider"]}, "eu-west-1/AWS"),
        ({"fields": ["Organization", "Accelerator"]}, "-/GPU"),
        ({"labels": ["size"]}, "small"),
        ({"fields": ["Region"], "labels": ["none", "size"]}, "eu-west-1/-/small"),
    ],
)
def test_a_stratum_is_named_by_its_values(by, name):
    client = s.site("a", {"size": "small"}, provider="AWS", region="eu-west-1", pool=GPU)
    assert strata.stratum(Strata.model_validate(by), client) == name


CLIENTS = (
    s.site("a", provider="AWS", region="eu"), s.site("b", provider="GCP"), s.site("c", provider="AWS", region="eu"),
    s.site("d", provider="GCP", paused=True),
)  # fmt: skip


def test_the_roster_has_numbers_and_a_table_says_what_they_are():
    told = config(decide(s.observe(s.job(clients=stratified(fields=["Provider", "Region"])), CLIENTS), s.NOW))
    assert told.strata == ("AWS/eu", "GCP/-")
    assert [(e.name, e.eligible, e.stratum) for e in told.roster] == [
        ("a", True, 0), ("b", True, 1), ("c", True, 0), ("d", False, 1),
    ]  # fmt: skip
    plain = config(decide(s.observe(clients=CLIENTS), s.NOW))
    assert (plain.strata, {entry.stratum for entry in plain.roster}) == ((), {None})


def test_too_many_strata_are_not_accepted_and_one_that_has_started_goes_on(monkeypatch):
    for module in (accepted, strata):
        monkeypatch.setattr(module, "MAX_STRATA", 1)
    spec = {"clients": stratified(fields=["Provider"])}
    decision = decide(s.observe(s.job(**spec), CLIENTS), s.NOW)
    value, reason, message = s.condition(decision, "Accepted")
    assert (value, reason, decision.objects) == ("False", Reason.TOO_MANY_STRATA, ())
    assert message.startswith("spec.clients.stratified tells 2 strata of the 4 sites apart, and a job has at most 1")
    going = decide(s.observe(s.job({"startTime": s.ago(60)}, **spec), CLIENTS), s.NOW)
    assert s.condition(going, "Accepted")[:2] == ("False", Reason.TOO_MANY_STRATA)
    assert [entry.stratum for entry in config(going).roster] == [0, None, 0, None]


def test_overrides_and_frequencies_are_in_the_roster_in_few_bytes():
    small, both = {"matchLabels": {"size": "small"}}, {"matchExpressions": [{"key": "size", "operator": "Exists"}]}
    overrides = [{"selector": small, "batchSize": 4}, {"selector": both, "localSteps": 7}]
    clients = (
        s.site("a", {"size": "small"}), s.site("b", {"size": "big"}, paused=True),
        s.site("c", participation={"everyRounds": 3}), s.site("d", {"size": "big"}, participation={"everyRounds": 2}),
    )  # fmt: skip
    decision = decide(s.observe(s.job(clients={"overrides": overrides}), clients), s.NOW)
    told = config(decision)
    assert [(e.batch_size, e.epochs, e.local_steps) for e in told.overrides] == [(4, None, None), (None, None, 7)]
    assert [(e.override, e.every_rounds) for e in told.roster] == [(0, 1), (1, 1), (None, 3), (1, 2)]
    text = next(o["data"][names.CONFIG_FILE] for o in decision.objects if o["kind"] == "ConfigMap")
    assert json.loads(text)["roster"] == {"a": "|||0", "b": "Paused|||1", "c": "||3", "d": "||2|1"}
