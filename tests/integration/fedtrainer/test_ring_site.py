"""A site of several ranks against the real aggregator: one update per round, whoever is killed; regrouping; one round only."""

import signal

import pytest

from fedapi.outcome import Exit
from tests.integration.fedtrainer.programs import Site
from tests.integration.protocol.application import UID
from tests.integration.protocol.faults import Answer
from tests.ports import free_port
from tests.waiting import until

LONG = {"epochs": 100, "batch_size": 8}


def slow(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"TINY_MARKER": str(tmp_path / "marker")})
    hub.give(site.initial_model("Slow"))
    return site


def test_one_update_per_round_with_the_weight_of_the_whole_site(tmp_path, made):
    hub = made(rounds=2, training={"batch_size": 10})
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0], (site.folder / "log").read_text()
    assert [(m.round, m.samples) for m in hub.updates] == [(1, 48), (2, 48)]
    assert [(e["round"], e["samples"]) for e in hub.evaluations] == [(0, 16), (1, 16), (2, 16)]
    assert not hub.failures
    assert not list((site.folder / "state").iterdir()), "nothing is left behind"


def test_ranks_of_a_launcher(tmp_path, made):
    port, hub = free_port(), made()
    ring = {"FEDLOOM_RING_SLOTS": "2", "FEDLOOM_COLLECTIVE": "TorchDistributed", "FEDLOOM_RING_PORT": str(port)}
    site = Site(tmp_path / "site", hub, env=ring)
    hub.give(site.initial_model())
    ended = site.run("train")
    assert ended.code == 0, ended.log
    assert [(m.round, m.samples) for m in hub.updates] == [(1, 48)]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_breaks_the_ring_and_the_next_one_goes_on(tmp_path, made, killed):
    hub = made(training={**LONG, "checkpoint_every_s": 0.0})
    site = slow(tmp_path, hub)
    ranks = site.start_ranks("Slow")
    until((tmp_path / "marker.trains").exists)
    ranks[killed].kill()
    codes = site.end_ranks(ranks)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == Exit.RING_BROKEN, (site.folder / "log").read_text()
    assert not hub.failures
    (tmp_path / "marker").touch()
    assert site.end_ranks(site.start_ranks("Slow")) == [0, 0]
    assert "goes on after epoch" in (site.folder / "log").read_text()
    assert [(m.round, m.samples) for m in hub.updates] == [(1, 48)]


def test_sigterm_leaves_a_checkpoint(tmp_path, made):
    hub = made(training={**LONG, "checkpoint_every_s": 1000.0})
    site = slow(tmp_path, hub)
    process = site.start("train", "Slow")
    until((tmp_path / "marker.trains").exists)
    process.send_signal(signal.SIGTERM)
    assert site.end(process).code == 128 + signal.SIGTERM
    (tmp_path / "marker").touch()
    ended = site.call("train", "Slow")
    assert ended.code == 0, ended.log
    assert "goes on after epoch" in ended.log
    assert len(hub.updates) == 1


def test_a_regroup_comes_between_two_orders(tmp_path, made):
    hub = made(clients=("site-a", "site-b"))  # whose update does not come: site-a waits
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    hub.plan()
    ranks = site.start_ranks("Tiny")
    until(lambda: hub.updates)
    ranks[0].send_signal(signal.SIGUSR1)
    assert site.end_ranks(ranks) == [Exit.RING_BROKEN] * 2
    assert not hub.failures


def test_a_job_that_is_over_lets_all_ranks_go(tmp_path, made):
    hub = made()
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    assert site.call("train").code == 0
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0]
    assert len(hub.updates) == 1


def test_a_lifetime_of_one_round(tmp_path, made):
    hub = made(rounds=2, lifetime="Round")
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round"})
    hub.give(site.initial_model())
    hub.plan()
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0], (site.folder / "log").read_text()
    assert [m.round for m in hub.updates] == [1], "the second order is for another Job"
    own = site.folder / "state" / UID / "site-a"
    assert not list(own.iterdir()), "neither the model nor the order"


@pytest.mark.parametrize(
    ("kind", "route", "answers", "updates", "failures"),
    [
        ("Tiny", "get", [Answer(503)], 1, []),
        ("Tiny", "uploads", [Answer(409, "StaleRound")], 0, []),
        ("Tiny", "updates", [Answer(422, "WrongShape")], 0, ["UpdateRefused"]),
        ("NaN", "next", [], 0, ["TrainingDiverged"]),
    ],
)
def test_one_round_is_over_however_its_order_ends(tmp_path, made, kind, route, answers, updates, failures):
    hub = made(lifetime="Round", inline=route not in ("get", "uploads"))
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round"})
    hub.give(site.initial_model(kind))
    hub.plan()
    hub.line.plan(route, *answers)
    ended = site.call("train", kind)
    assert ended.code == 0, ended.log
    assert len(hub.updates) == updates
    assert [f["reason"] for f in hub.failures] == failures


def test_a_job_of_one_round_that_nobody_wants_ends(tmp_path, made):
    hub = made(lifetime="Round")
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round", "FEDLOOM_POLL_S": "1"})
    assert site.call("train").code == 0
    assert not hub.updates
