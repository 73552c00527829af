"""A site of several ranks against an HTTPS hub: one update per round, whoever is killed; regrouping; one round only."""

import signal

import pytest

from fedapi.outcome import Exit
from tests.integration.trainer.hub import Hub
from tests.integration.trainer.programs import HERE, UID, Site, end_all
from tests.ports import free_port
from tests.waiting import until


@pytest.fixture
def hub(tmp_path):
    hub = Hub(tmp_path / "hub")
    yield hub
    hub.close()


@pytest.fixture(autouse=True)
def tasks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()


@pytest.fixture
def slow(tmp_path, hub):
    return Site(tmp_path / "site", hub, env={"TINY_MARKER": str(tmp_path / "marker")})


def test_one_update_per_round_with_the_weight_of_the_whole_site(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    model = site.initial_model()
    hub.train(1, model, evaluate=True, batch_size=10)
    hub.train(2, model, batch_size=10)
    hub.evaluate(2, model, batch_size=10)
    hub.finish()
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0], (site.folder / "log").read_text()
    assert [(m.round, m.samples) for m, _ in hub.updates] == [(1, 48), (2, 48)]
    assert [(e.round, e.samples) for e in hub.evaluations] == [(0, 16), (2, 16)]
    assert hub.evaluations[0].metrics == hub.evaluations[1].metrics, "of the same model"
    assert not hub.failures
    assert not list((site.folder / "state").iterdir()), "nothing is left behind"


def test_ranks_of_a_launcher(tmp_path, hub):
    port = free_port()
    ring = {"FEDLOOM_RING_SLOTS": "2", "FEDLOOM_COLLECTIVE": "TorchDistributed", "FEDLOOM_RING_PORT": str(port)}
    site = Site(tmp_path / "site", hub, env=ring)
    hub.train(1, site.initial_model())
    hub.finish()
    ended = site.run("train")
    assert ended.code == 0, ended.log
    assert [(m.round, m.samples) for m, _ in hub.updates] == [(1, 48)]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_breaks_the_ring_and_the_next_one_goes_on(tmp_path, hub, slow, killed):
    order = {"epochs": 100, "batch_size": 8, "checkpoint_every_s": 0.0}
    model = slow.initial_model("Slow")
    hub.train(1, model, **order)
    ranks = slow.start_ranks("Slow")
    until((tmp_path / "marker.trains").exists)
    ranks[killed].kill()
    codes = slow.end_ranks(ranks)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == Exit.RING_BROKEN, (slow.folder / "log").read_text()
    assert not hub.failures
    (tmp_path / "marker").touch()
    hub.train(1, model, **order)
    hub.finish()
    assert slow.end_ranks(slow.start_ranks("Slow")) == [0, 0]
    assert "goes on after epoch" in (slow.folder / "log").read_text()
    assert [(m.round, m.samples) for m, _ in hub.updates] == [(1, 48)]


def test_sigterm_leaves_a_checkpoint(tmp_path, hub, slow):
    order = {"epochs": 100, "batch_size": 8, "checkpoint_every_s": 1000.0}
    model = slow.initial_model("Slow")
    hub.train(1, model, **order)
    process = slow.start("train", "Slow")
    until((tmp_path / "marker.trains").exists)
    process.send_signal(signal.SIGTERM)
    assert slow.end(process).code == 128 + signal.SIGTERM
    (tmp_path / "marker").touch()
    hub.train(1, model, **order)
    hub.finish()
    ended = slow.call("train", "Slow")
    assert ended.code == 0, ended.log
    assert "goes on after epoch" in ended.log
    assert len(hub.updates) == 1


def test_a_regroup_comes_between_two_orders(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.train(1, site.initial_model())
    ranks = site.start_ranks("Tiny")
    until(lambda: hub.updates)
    ranks[0].send_signal(signal.SIGUSR1)
    assert site.end_ranks(ranks) == [Exit.RING_BROKEN] * 2
    assert not hub.failures


def test_a_job_that_is_over_lets_all_ranks_go(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.finish()
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0]


def test_a_lifetime_of_one_round(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round"})
    model = site.initial_model()
    hub.train(1, model)
    hub.train(2, model)
    assert site.end_ranks(site.start_ranks("Tiny")) == [0, 0], (site.folder / "log").read_text()
    assert [m.round for m, _ in hub.updates] == [1], "the second order is for another Job"
    own = site.folder / "state" / UID / "site-a"
    assert not list(own.iterdir()), "neither the model nor the order"


@pytest.mark.parametrize(
    ("kind", "route", "answers", "updates", "failures"),
    [
        ("Tiny", "blobs", [(503, "Stopping")], 1, []),
        ("Tiny", "uploads", [(409, "StaleRound")], 0, []),
        ("Tiny", "updates", [(422, "WrongShape")], 0, ["UpdateRefused"]),
        ("NaN", "none", [], 0, ["TrainingDiverged"]),
    ],
)
def test_one_round_is_over_however_its_order_ends(tmp_path, hub, kind, route, answers, updates, failures):
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round"})
    hub.train(1, site.initial_model(kind))
    hub.fail_first(route, *answers)
    ended = site.call("train", kind)
    assert ended.code == 0, ended.log
    assert len(hub.updates) == updates
    assert [f.reason for f in hub.failures] == failures


def test_a_job_of_one_round_that_nobody_wants_ends(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_LIFETIME": "Round", "FEDLOOM_POLL_S": "1"})
    process = site.start("train", "Tiny")
    assert site.end(process).code == 0
    assert not hub.updates
