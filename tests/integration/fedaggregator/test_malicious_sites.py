"""Sites that send finite, well formed and harmful updates, against the real aggregator: what is told, left out, suspended."""

import numpy as np
import pytest

from fedapi.wire.anomalies import AnomalySettings, Readmission
from fedapi.wire.seeds import derived
from fedapi.wire.strategy import StrategySettings
from tests.integration.fedaggregator.harness import (
    Aggregator,
    JobFolder,
    Site,
    config,
    monitored,
    run_sites,
    small_model,
)
from tests.waiting import PATIENCE_S, until

SITES = ("a", "b", "c", "d", "evil")


def like_all(model, client, order, spread=0.2):
    """Updates that agree in a part, as those of sites with alike data do."""
    common = np.random.default_rng(derived(order.seed, "common", order.round))
    own = np.random.default_rng(derived(order.seed, "own", client, order.round))
    return {
        name: (common.normal(size=value.shape) + spread * own.normal(size=value.shape)).astype(value.dtype)
        for name, value in sorted(model.items())
    }


def times(factor, *layers, first=1):
    """What the evil site sends from a round on: all of it, or some layers, so many times longer."""

    def train(model, client, order):
        update = like_all(model, client, order)
        if client != "evil" or order.round < first:
            return update
        by = factor(order.round) if callable(factor) else factor
        return {name: part * np.float32(by) if name in layers or not layers else part for name, part in update.items()}

    return train


def run(folder, train, clients=SITES, **values):
    settings = {"quorum": "60%", "anomalies": AnomalySettings(action="Exclude"), "rounds": 2} | values
    job = JobFolder(folder, config(clients, **settings), model=small_model())
    with Aggregator(job).ready():
        run_sites(job, train=train)
    return job


def told(job):
    """By round the sites whose updates were anomalous, and why."""
    return {
        commit.round: {each.client: [fact.kind for fact in each.facts] for each in commit.anomalies}
        for commit in job.commits()
        if commit.anomalies
    }


def in_model(job):
    return [tuple(each.client for each in commit.participants) for commit in job.commits()[1:]]


@pytest.mark.parametrize("factor", [12, 1000])
def test_an_update_that_is_much_longer_is_left_out(tmp_path, factor):
    job = run(tmp_path / "judged", times(factor))
    assert told(job) == {1: {"evil": ["NormAboveOthers"]}, 2: {"evil": ["NormAboveOthers"]}}
    assert in_model(job) == [("a", "b", "c", "d")] * 2
    assert [commit.missed for commit in job.commits()[1:]] == [("evil",)] * 2
    honest = run(tmp_path / "honest", like_all, SITES[:4])
    assert [c.model.sha256 for c in job.commits()] == [c.model.sha256 for c in honest.commits()], (
        "as if it had not been there"
    )


def test_warn_tells_and_takes_it(tmp_path):
    job = run(tmp_path, times(1000), anomalies=AnomalySettings(action="Warn"))
    assert told(job)[1] == {"evil": ["NormAboveOthers"]}
    assert in_model(job) == [SITES] * 2
    status = job.status()
    assert status["anomalies"]["total"] == 2
    assert [each["round"] for each in status["anomalies"]["recent"]] == [2, 1]
    assert "times the median of the others'" in status["anomalies"]["recent"][0]["message"]
    mine = next(each for each in status["clients"] if each["name"] == "evil")
    assert mine["message"].startswith("warning: its update of round 2 is anomalous")


def test_one_poisoned_layer(tmp_path):
    job = run(tmp_path, times(100, "layer.bias"))
    assert told(job)[1] == {"evil": ["NormAboveOthers"]}, "so long that the whole is, too"
    job = run(tmp_path / "shorter", times(15, "layer.bias"), rounds=1)
    assert told(job)[1] == {"evil": ["LayerAboveOthers"]}


def test_a_flipped_sign_is_told_where_directions_are_looked_at(tmp_path):
    assert told(run(tmp_path / "by-length", times(-1))) == {}
    job = run(tmp_path / "by-direction", times(-1), anomalies=AnomalySettings(action="Exclude", min_cosine=-0.5))
    assert told(job)[1] == {"evil": ["AgainstOthers"]}
    assert in_model(job)[0] == ("a", "b", "c", "d")


def test_a_slow_drift_is_told_once_it_is_ten_times_the_others(tmp_path):
    job = run(tmp_path, times(lambda round_: 2.0 ** (round_ - 1)), rounds=5)
    (drifted,) = told(job).items()
    assert drifted[0] == 5, "16 times; 8 times before"
    assert drifted[1]["evil"][0] == "NormAboveOthers"


def test_sites_that_are_all_alike_are_not(tmp_path):
    def train(model, client, order):
        by = np.float32(1 if order.round < 4 else 50)
        return {name: part * by for name, part in like_all(model, client, order).items()}

    assert told(run(tmp_path, train, rounds=4)) == {}


def test_two_sites_have_no_majority(tmp_path):
    job = run(tmp_path, times(1000, first=4), ("a", "evil"), rounds=4, quorum=1)
    assert told(job) == {4: {"evil": ["NormAboveOwn"]}}
    assert in_model(job)[-1] == ("a",)
    assert "round 4 had 2 updates: fewer than 3 cannot be compared" in job.status()["anomalies"]["message"]
    first = run(tmp_path / "first", times(1000), ("a", "evil"), rounds=1, quorum=1)
    assert told(first) == {}, "of the first round there is nothing to compare with"


def test_a_robust_rule_is_given_what_is_left(tmp_path):
    job = run(tmp_path, times(1000), strategy=StrategySettings(name="Krum", parameters={"byzantine": 0}), rounds=1)
    assert told(job) == {1: {"evil": ["NormAboveOthers"]}}
    assert in_model(job) == [("a", "b", "c", "d")]


def test_without_a_quorum_the_attempt_fails_and_the_site_is_named(tmp_path):
    job = run(tmp_path, times(1000), quorum="100%", max_failures=1)
    outcome = job.status()["outcome"]
    assert (outcome["result"], outcome["reason"]) == ("Failed", "QuorumNotReached")
    assert "left out anomalous updates of evil: 4 are left, 5 were needed" in outcome["message"]
    assert [each["attempt"] for each in job.status()["anomalies"]["recent"]] == [2, 1]


def test_a_suspended_site_is_selected_no_more_until_it_is_readmitted(tmp_path):
    settings = AnomalySettings(action="Suspend")
    job = JobFolder(tmp_path, config(SITES, quorum="60%", rounds=4, anomalies=settings, min_available=4))
    train = times(lambda round_: 1000 if round_ == 1 else 1)
    sites = [Site(job, client, samples=10 + 5 * i, train=train) for i, client in enumerate(SITES)]
    with Aggregator(job).ready():
        for site in sites:
            site.next(0.0)
        orders = [site.next().train for site in sites]
        for site, order in zip(sites, orders, strict=True):
            site.take_part(order)
        until(lambda: job.status()["round"]["committed"] == 1, not_yet=(KeyError,))
    assert job.status()["anomalies"]["suspended"] == [{"name": "evil", "round": 1}]
    with Aggregator(job).ready():  # it is known after a restart
        until(lambda: "suspended" in job.status().get("anomalies", {}))
        for site in sites[:4]:
            site.take_part(site.next().train)
        until(lambda: job.status()["round"]["committed"] == 2, not_yet=(KeyError,))
        assert next(c["state"] for c in job.status()["clients"] if c["name"] == "evil") == "Suspended"
        assert 'anomalies_total{action="Suspend"' not in monitored(job, "/metrics").text, (
            "counted by the process that judged"
        )
        readmitted = settings.model_copy(update={"readmit": (Readmission(client="evil", through_round=1),)})
        job.write_config(job.config.model_copy(update={"anomalies": readmitted}))
        threads = [site.start() for site in sites]
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert site.error is None
    assert in_model(job)[:2] == [("a", "b", "c", "d")] * 2
    assert in_model(job)[-1] == SITES
    assert job.status()["anomalies"]["suspended"] == []
