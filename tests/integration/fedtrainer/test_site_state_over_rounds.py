"""A task's state from round to round against the real aggregator: it counts what was committed, whatever happens between."""

import signal

import pytest

from fedaggregator.engine.salvage import repaired
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.job import RollbackTo
from fedstore import history
from fedstore.opening import open_store
from tests.integration.fedtrainer.programs import Site
from tests.integration.protocol.application import UID
from tests.integration.protocol.faults import Answer, Cut, Delay
from tests.waiting import until


@pytest.fixture
def job_values():
    return {"rounds": 3}


def started(tmp_path, hub, **env):
    site = Site(tmp_path / "site", hub, env=env)
    hub.give(site.initial_model())
    return site


def put_back(hub):
    """As `fedloom store repair` does where the last model is damaged: its round is made again."""
    store, layout = open_store(hub.job.extra_env[names.ENV_STORE]), hub.job.layout
    hub.stop()
    last = history.committed(store, layout)[-1].record
    store.delete(last.model.key)
    said = list(repaired(store, layout))
    assert f"HEAD was set to round {last.round - 1}" in said[-1]
    hub.start()


def state_files(site):
    return sorted(path.name[:16] for path in (site.folder / "state" / UID / "site-a" / "state").iterdir())


def counted(hub):
    return [(m.round, m.metrics["n"]) for m in hub.updates]


RIGHT = [(1, 1.0), (2, 2.0), (3, 3.0)]
KEPT = ["current-000002-1", "current-000003-1"]  # the last, and the one before it


FAULTS = [
    [],
    [("updates", Cut("after"))],
    [("updates", Answer(503)), ("updates", Cut("after"))],
    [("updates", Answer(409, "StaleRound"))],
    [("updates", Answer(422, "WrongShape"))],
    [("uploads", Answer(413, "TooLarge")), ("uploads", Answer(413, "TooLarge"))],
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_trainings_that_count_are_counted_once(tmp_path, made, faults):
    hub = made(inline=not any(route == "uploads" for route, _ in faults))
    site = started(tmp_path, hub)
    for route, fault in faults:
        hub.line.plan(route, fault)
    ended = site.call("train", "Counts")
    assert ended.code == 0, ended.log
    assert counted(hub) == RIGHT
    found = {(e["round"], e["metrics"]["n"]) for e in hub.evaluations}  # again with every order
    assert found == {(0, 0.0), *RIGHT}, "an evaluation sees what was committed"
    assert state_files(site) == KEPT, "the job's end does not delete it"


@pytest.mark.parametrize("where", ["train", "staged", "evaluate"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_site_counts_on(tmp_path, made, where, ranks):
    hub = made()
    site = started(tmp_path, hub, TINY_KILL=f"{where}:{tmp_path / 'killed'}")

    def codes():
        return site.end_ranks(site.start_ranks("Counts")) if ranks > 1 else [site.run("train", "Counts").code]

    first = codes()
    assert -signal.SIGKILL in first
    assert set(first) <= {-signal.SIGKILL, Exit.RING_BROKEN}
    assert codes() == [0] * ranks, (site.folder / "log").read_text()
    assert counted(hub) == RIGHT
    assert state_files(site) == KEPT


def test_a_restarted_aggregator_says_the_same(tmp_path, made):
    hub = made()
    site = started(tmp_path, hub)
    process = site.start("train", "Counts")
    until(lambda: hub.updates)
    hub.restart()
    ended = site.end(process)
    assert ended.code == 0, ended.log
    assert counted(hub) == RIGHT


def test_processes_of_one_round_hand_it_on(tmp_path, made):
    hub = made(rounds=2, lifetime="Round")
    site = started(tmp_path, hub, FEDLOOM_LIFETIME="Round")
    while "outcome" not in hub.job.status():
        assert site.call("train", "Counts").code == 0
    assert counted(hub) == RIGHT[:2]


def test_a_site_goes_back_with_a_store_that_was_put_back_and_counts_on(tmp_path, made):
    hub = made()
    site = started(tmp_path, hub)
    assert site.call("train", "Counts").code == 0
    put_back(hub)
    assert site.call("train", "Counts").code == 0, (site.folder / "log").read_text()
    assert counted(hub) == [*RIGHT, (3, 3.0)]
    assert state_files(site) == KEPT


def test_a_lost_state_is_told_and_never_begun_anew(tmp_path, made):
    hub = made()
    site = started(tmp_path, hub, TINY_KILL=f"evaluate:{tmp_path / 'killed'}")
    assert site.run("train", "Counts").code == -signal.SIGKILL
    (current,) = (site.folder / "state" / UID / "site-a" / "state").glob("current-000001-1-*")
    (site.folder / "state" / UID / "site-a" / "state" / current.name.replace("000001", "000009")).touch()
    current.unlink()
    hub.line.plan("updates", Answer(422, "WrongShape"))  # the finished update does not save it
    ended = site.run("train", "Counts")
    assert ended.code == Exit.DATA_MISSING, ended.log
    assert "there is that of round 9" in ended.reason
    assert [f["reason"] for f in hub.failures] == ["UpdateRefused", "DataMissing"]


def until_round(last, tmp_path, made):
    """So many rounds are committed, and the site was lost when it handed in the next update."""
    hub = made(rounds=last + 1)
    site = started(tmp_path, hub, FEDLOOM_PATIENCE_S="0.2")
    hub.line.plan("updates", *[Delay(0)] * last, *[Answer(503)] * 50)
    assert site.call("train", "Counts").code == Exit.AGGREGATOR_LOST
    assert counted(hub) == RIGHT[:last]
    return hub, site


def rolled_back(hub, round_):
    hub.job.write_config(hub.job.config.model_copy(update={"rollback_to": RollbackTo(round=round_)}))
    until(lambda: hub.job.status().get("rollback"))
    hub.line.mend()


def test_a_site_goes_back_with_a_rollback_by_one_of_its_updates(tmp_path, made):
    hub, site = until_round(2, tmp_path, made)
    rolled_back(hub, 1)
    ended = site.call("train", "Counts")
    assert ended.code == 0, ended.log
    assert counted(hub) == [*RIGHT[:2], (4, 2.0), (5, 3.0)], "what was given up is not counted"
    assert state_files(site) == ["current-000004-1", "current-000005-1"]


def test_a_rollback_by_more_is_the_person_s_as_after_a_repair(tmp_path, made):
    hub, site = until_round(3, tmp_path, made)
    rolled_back(hub, 1)
    ended = site.call("train", "Counts")
    assert ended.code == Exit.DATA_MISSING
    assert "go on with an empty state by making the file" in ended.reason + ended.log
    (site.folder / "state" / UID / "site-a" / "state" / "reset").touch()
    assert site.call("train", "Counts").code == 0
    assert counted(hub) == [*RIGHT, (5, 1.0), (6, 2.0), (7, 3.0)]


@pytest.mark.parametrize("last", [1, 3])
def test_a_site_begins_anew_where_the_job_goes_back_to_before_its_first_update(tmp_path, made, last):
    """The aggregator knows of its updates, and that none counts: no state is the right one. It says so after a restart, too."""
    hub, site = until_round(last, tmp_path, made)
    rolled_back(hub, 0)
    hub.restart()
    ended = site.call("train", "Counts")
    assert ended.code == 0, ended.log
    again = [(last + 2 + n, float(n + 1)) for n in range(last + 1)]
    assert counted(hub) == [*RIGHT[:last], *again], "what was given up is not counted"


def test_a_site_whose_aggregator_has_lost_its_store_does_not_begin_anew(tmp_path, made):
    """Its aggregator names no update either, but knows of none."""
    hub = made(rounds=1)
    site = started(tmp_path, hub)
    assert site.call("train", "Counts").code == 0
    site.hub = made()
    site.hub.give(site.initial_model())
    ended = site.call("train", "Counts")
    assert (ended.code, "of no round" in ended.log) == (Exit.DATA_MISSING, True)
