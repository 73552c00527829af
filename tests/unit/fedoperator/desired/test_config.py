"""The configuration that the aggregator reads: numbers, strategy, history, roster."""

import json
from typing import Literal

import pytest

from fedapi import names, outcome
from fedapi.crd.fields import Decimal, Part
from fedapi.crd.strategy import Strategy
from fedapi.wire.job import JobConfig
from fedapi.wire.roster import MAX_STRATA, RosterEntry
from fedapi.wire.secureround import SecureSettings
from fedapi.wire.training import MAX_OVERRIDES
from fedoperator.decide.reasons import Reason
from fedoperator.desired import config
from fedoperator.desired.config import config_map, job_config
from tests.unit.fedoperator import samples
from tests.unit.fedoperator import samples as s


def test_numbers_and_seconds_for_the_aggregator():
    spec = {
        "round": {"quorum": "60%", "deadline": "1h30m", "graceAfterQuorum": "90s"},
        "clients": {"policy": "Random", "fraction": "0.5", "minAvailable": 2},
        "stop": {"metric": "accuracy", "target": "0.9"},
        "training": {"localSteps": 10, "optimizer": {"name": "SGD", "learningRate": "1e-2", "momentum": "0.9"}},
    }
    made = config.job_config(s.job(**spec), ())
    assert (made.deadline_s, made.grace_after_quorum_s, made.fraction, made.quorum) == (5400.0, 90.0, 0.5, "60%")
    assert made.stop is not None
    assert (made.stop.target, made.stop.patience) == (0.9, None)
    assert (made.training.epochs, made.training.local_steps) == (None, 10)
    assert (made.training.optimizer.learning_rate, made.training.optimizer.momentum) == (0.01, 0.9)
    plain = config.job_config(s.job(), ())
    assert (plain.training.epochs, plain.stop, plain.fraction, plain.grace_after_quorum_s) == (1, None, None, None)


def of_sums(colluding: int, scheme: str | None = None, **asked) -> SecureSettings:
    numbers = {"value_range": 16.0, "overflow": "Fail", "exchange_timeout_s": 120.0} | asked
    return SecureSettings(colluding=colluding, scheme=scheme, **numbers)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dpSGD": {"maxGradNorm": "1", "noiseMultiplier": "1", "delta": "1e-5"}}, None),
        ({"secureAggregation": {}}, of_sums(1)),
        ({"homomorphicEncryption": {}}, of_sums(0, "CKKS")),
        (
            {"homomorphicEncryption": {"threshold": "60%", "valueRange": "0.5", "overflow": "Clip", "exchangeTimeout": "5s"}},
            of_sums(0, "CKKS", threshold="60%", value_range=0.5, overflow="Clip", exchange_timeout_s=5.0),
        ),
    ],
)  # fmt: skip
def test_how_updates_are_summed_of_which_nobody_sees_a_single_one(asked, told):
    assert config.job_config(s.job(privacy=asked), ()).secure == told


class Numbers(Part):
    rate: Decimal = "0.5"
    rounds_before: int = 3


class Two(Strategy):
    name: Literal["FedAvg", "Other"] = "FedAvg"
    other: Numbers | None = None


def test_numbers_are_those_of_the_field_that_is_set():
    assert Two(name="Other", other=Numbers(rate="1e-3")).parameters() == {"rate": 0.001, "rounds_before": 3.0}
    assert Two(name="Other", other={"roundsBefore": 5}).parameters() == {"rate": 0.5, "rounds_before": 5.0}
    assert Two().parameters() == {}


@pytest.mark.parametrize(("given", "expected"), [({}, None), ({"fragments": 1}, None), ({"fragments": 4}, 4)])
def test_fragments_are_no_number_of_the_strategy_and_one_is_none(given, expected):
    """So a job without them has the configuration, and plans, that it had before there were any."""
    training = {"localSteps": 5, "optimizer": {"name": "AdamW"}}
    made = job_config(s.job(strategy={"name": "DiLoCo", "diLoCo": given}, training=training), ()).strategy
    assert (made.fragments, made.parameters) == (expected, {"momentum": 0.9, "learning_rate": 0.7})
    assert ("fragments" in made.model_dump()) is (expected is not None)


@pytest.mark.parametrize(("keep", "expected"), [(None, None), ("All", None), (7, 7)])
def test_what_history_keeps(keep, expected):
    job = samples.job(**({} if keep is None else {"storage": {"history": {"keep": keep}}}))
    assert job_config(job, ()).history_keep == expected


CONFIG_MAP = 2**20  # bytes of all values together: the API server's own check
OBJECT = 3 * 2**19  # bytes of a request to etcd (--max-request-bytes)
REASON = max((*map(str, Reason), *(outcome.reason(code) for code in outcome.Exit)), key=len)


def test_the_configuration_fits_a_config_map():
    roster = tuple(RosterEntry(name=name, eligible=False, reason=REASON) for name in s.LONG)
    made = config_map(s.job(), roster)
    size = len(made["data"][names.CONFIG_FILE].encode())
    assert 0.8 * CONFIG_MAP < size < CONFIG_MAP - 2**16  # what is left holds the job's own settings many times over
    assert len(json.dumps(made)) < OBJECT
    assert JobConfig.model_validate_json(made["data"][names.CONFIG_FILE]).roster == roster


def test_it_fits_with_all_that_may_be_said_of_a_site():
    facts = {"stratum": MAX_STRATA - 1, "every_rounds": 100, "override": MAX_OVERRIDES - 1}
    roster = tuple(RosterEntry(name=name, eligible=False, reason=REASON, **facts) for name in s.LONG)
    strata = tuple(f"{number:03}".ljust(253, "x") for number in range(MAX_STRATA))
    override = {
        "selector": {"matchLabels": {"a": "b"}},
        "batchSize": 1000,
        "localSteps": 1000,
        "modelWidth": "0.333333333",
    }
    made = config_map(s.job(clients={"overrides": [override] * MAX_OVERRIDES}), roster, strata)
    assert len(made["data"][names.CONFIG_FILE].encode()) < CONFIG_MAP
    assert JobConfig.model_validate_json(made["data"][names.CONFIG_FILE]).roster == roster


@pytest.mark.parametrize(
    "entry",
    [
        RosterEntry(name="a"),
        RosterEntry(name="a", eligible=False, reason="Paused"),
        RosterEntry(name="a", eligible=False),
        RosterEntry(name="a", stratum=0),
        RosterEntry(name="a", override=3),
        RosterEntry(name="a", eligible=False, reason="NotReady", stratum=12, every_rounds=5, override=0),
    ],
)
def test_a_roster_comes_back_as_it_was(entry):
    config = JobConfig.model_validate_json(config_map(s.job(), (entry,))["data"][names.CONFIG_FILE])
    assert config.roster == (entry,)
    assert JobConfig.model_validate_json(config.canonical()).roster == (entry,)
    listed = config.model_dump() | {"roster": [entry.model_dump()]}  # the form of version 0.1
    assert JobConfig.model_validate(listed).roster == (entry,)


def test_a_bucket_is_told_by_its_place_its_regions_and_how_updates_are_encrypted():
    storage = {"s3": {"bucket": "models", "prefix": "a", "region": "eu-central-1"}, "residency": ["eu-central-1"]}
    config = job_config(s.job(storage=storage), ())
    assert (config.store_uri, config.residency, config.encryption) == (
        "s3://models/a",
        ("eu-central-1",),
        "MLKEM768X25519",
    )
    plain = job_config(s.job(), ())
    assert (plain.residency, plain.encryption) == ((), None)
    assert not {"residency", "encryption"} & plain.model_dump(mode="json").keys(), (
        "older aggregators refuse what they do not know"
    )


def test_sub_models_are_told_by_their_width_and_how_they_are_averaged():
    every = {"selector": {}}
    told = job_config(s.job(clients={"overrides": [every | {"modelWidth": "0.50"}, every | {"modelWidth": "1"}]}), ())
    assert [each.model_width for each in told.overrides] == [0.5, None]
    assert told.strategy.sub_models == "Overlap"
    padded = s.job(clients={"overrides": [every | {"modelWidth": "0.5"}]}, strategy={"subModels": "ZeroPadding"})
    assert job_config(padded, ()).strategy.sub_models == "ZeroPadding"
    assert job_config(s.job(clients={"overrides": [every | {"modelWidth": "1.0"}]}), ()).strategy.sub_models is None
