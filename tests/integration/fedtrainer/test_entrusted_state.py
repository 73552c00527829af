"""Real trainers that lose their state and get it back from a real aggregator: the models are those of the undisturbed run."""

import shutil

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire import storekey
from fedapi.wire.job import RollbackTo
from fedapi.wire.storekey import EntrustedKey
from fedstore import history
from fedstore.opening import open_store
from tests.integration.fedaggregator.buckets import Reached, job_in
from tests.integration.fedaggregator.harness import Aggregator
from tests.integration.fedtrainer.programs import Site
from tests.integration.protocol.application import UID
from tests.integration.protocol.faults import Answer, Changed, Cut
from tests.waiting import until

ONCE = {"FEDLOOM_LIFETIME": "Round"}


@pytest.fixture
def job_values():
    return {"rounds": 3, "lifetime": "Round"}


def entrusting(folder, hub, secret="5" * 64, client="site-a", **env):
    """A site whose processes live for one order, and entrust its state."""
    folder.mkdir(parents=True)
    keys = folder / "keys"
    keys.mkdir()
    (keys / names.FILE_STATE_KEY).write_text(secret)
    return Site(folder, hub, client, env=ONCE | {names.ENV_STATE_KEY_DIR: str(keys)} | env)


def lose(site):
    shutil.rmtree(site.folder / "state")


def run(hub, site, between=lambda: None):
    """Until the job is over; what a process logs."""
    logs = []
    while "outcome" not in hub.job.status():
        ended = site.call("train", "Steered")
        assert ended.code == 0, ended.log
        logs.append(ended.log)
        between()
    return "".join(logs)


def models(store, layout):
    return [each.record.model.sha256 for each in history.committed(store, layout)]


def store_of(hub):
    return open_store(hub.job.extra_env[names.ENV_STORE]), hub.job.layout


def kept(hub, client="site-a"):
    """Entrusted states at the hub, by round and attempt."""
    store, layout = store_of(hub)
    return {storekey.parsed(layout, key): key for key in store.keys(layout.entrusted(client))}


def undisturbed(tmp_path, made):
    hub = made()
    site = Site(tmp_path / "undisturbed", hub, env=ONCE)
    hub.give(site.initial_model())
    run(hub, site)
    assert kept(hub) == {}, "nothing leaves a site that has not said so"
    return models(*store_of(hub))


@pytest.mark.parametrize("inline", [True, False])
def test_a_site_that_loses_all_after_each_round_makes_the_same_models(tmp_path, made, inline):
    quiet, hub = undisturbed(tmp_path, made), made(inline=inline)
    site = entrusting(tmp_path / "site", hub)
    hub.give(site.initial_model())
    log = run(hub, site, lambda: lose(site))
    assert models(*store_of(hub)) == quiet
    assert log.count("goes on with what it had entrusted to the hub") >= 2
    assert [said.round for said in kept(hub)] == [2, 3], "the last two, and nothing of older rounds"
    assert all(isinstance(said, EntrustedKey) for said in kept(hub))
    store, _ = store_of(hub)
    assert not any(b"layer" in store.get(key) for key in kept(hub).values())


FAULTS = [
    [("entrust", Cut("after")), ("put", Cut("after"))],
    [("entrust", Answer(503)), ("put", Answer(410, "Expired")), ("put", Changed("request"))],
    [("updates", Answer(422, "WrongShape"))],  # another attempt, with a state of its own
    [("recall", Cut("after")), ("get", Changed("answer")), ("get", Cut("within"))],
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_a_line_that_fails_changes_nothing(tmp_path, made, faults):
    quiet, hub = undisturbed(tmp_path, made), made()
    site = entrusting(tmp_path / "site", hub)
    hub.give(site.initial_model())
    for route, fault in faults:
        hub.line.plan(route, fault)
    run(hub, site, lambda: lose(site))
    assert models(*store_of(hub)) == quiet
    assert len(kept(hub)) == 2


def after_round_1(tmp_path, made, **env):
    """A site has lost its state after its update of round 1 was committed."""
    hub = made()
    site = entrusting(tmp_path / "site", hub, **env)
    hub.give(site.initial_model())
    assert site.call("train", "Steered").code == 0
    lose(site)
    return hub, site


def spoilt(hub, site):
    (key,) = kept(hub).values()
    store, _ = store_of(hub)
    data = bytearray(store.get(key))
    data[-1] ^= 1
    store._objects[key] = bytes(data)


def another_key(hub, site):
    (site.folder / "keys" / names.FILE_STATE_KEY).write_text("6" * 64)


def gone(hub, site):
    (key,) = kept(hub).values()
    store_of(hub)[0].delete(key)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (spoilt, "the entrusted state's bytes have SHA-256"),
        (another_key, "another state.key than the site has now (wrong key)"),
        (gone, "the hub keeps no state of round 1 attempt 1 of site 'site-a', but none at all"),
    ],
)
def test_what_cannot_be_had_is_named_and_nothing_is_begun_anew_unless_a_person_says_so(tmp_path, made, trouble, why):
    hub, site = after_round_1(tmp_path, made)
    trouble(hub, site)
    ended = site.call("train", "Steered")
    assert ended.code == Exit.DATA_MISSING
    assert why in ended.reason + ended.log
    assert [f["reason"] for f in hub.failures] == ["DataMissing"]
    (site.folder / "state" / UID / "site-a" / "state").mkdir(parents=True, exist_ok=True)
    (site.folder / "state" / UID / "site-a" / "state" / "reset").touch()
    assert site.call("train", "Steered").code == 0


def test_an_older_state_is_not_taken_for_the_newest(tmp_path, made):
    hub = made()
    site = entrusting(tmp_path / "site", hub, FEDLOOM_ENTRUST_EVERY_ROUNDS="2")
    hub.give(site.initial_model())
    for _ in range(2):
        assert site.call("train", "Steered").code == 0
    assert [said.round for said in kept(hub)] == [1]
    until(lambda: hub.job.status()["round"]["current"] == 3, not_yet=(KeyError,))
    lose(site)
    ended = site.call("train", "Steered")
    assert ended.code == Exit.DATA_MISSING
    assert "the hub keeps no state of round 2 attempt 1 of site 'site-a', but those of rounds 1" in ended.log
    hub.job.write_config(hub.job.config.model_copy(update={"rollback_to": RollbackTo(round=1)}))
    until(lambda: hub.job.status().get("rollback"))
    log = run(hub, site)
    assert "of round 1 was lost here: goes on with what it had entrusted" in log, "a rollback is the way out"


def test_a_hub_that_takes_nothing_does_not_keep_a_site_from_its_work(tmp_path, made):
    quiet, hub = undisturbed(tmp_path, made), made()
    site = entrusting(tmp_path / "site", hub)
    hub.give(site.initial_model())
    hub.line.plan("entrust", *[Answer(413, "TooLarge")] * 50)
    log = run(hub, site)
    assert "is not entrusted to the hub" in log
    assert models(*store_of(hub)) == quiet


def test_a_state_that_was_there_before_is_entrusted_when_the_site_begins_to(tmp_path, made):
    hub = made()
    site = entrusting(tmp_path / "site", hub)
    key = site.env.pop(names.ENV_STATE_KEY_DIR)
    hub.give(site.initial_model())
    assert site.call("train", "Steered").code == 0
    until(lambda: hub.job.status()["round"]["current"] == 2, not_yet=(KeyError,))
    site.env[names.ENV_STATE_KEY_DIR] = key
    assert site.call("train", "Steered").code == 0
    assert [said.round for said in kept(hub)] == [1, 2]


def test_another_key_is_told_at_the_start_and_the_next_state_is_entrusted_by_it(tmp_path, made):
    """A typo, say: found while the state is still there, and not when it is lost."""
    hub = made()
    site = entrusting(tmp_path / "site", hub, FEDLOOM_ENTRUST_EVERY_ROUNDS="10")
    hub.give(site.initial_model())
    assert site.call("train", "Steered").code == 0
    assert [said.round for said in kept(hub)] == [1]
    until(lambda: hub.job.status()["round"]["current"] == 2, not_yet=(KeyError,))
    (site.folder / "keys" / names.FILE_STATE_KEY).write_text("6" * 64)
    ended = site.call("train", "Steered")
    assert ended.code == 0, ended.log
    assert "state.key is another than the one by which the site entrusted its state last" in ended.log
    assert [said.round for said in kept(hub)] == [1, 2], "every tenth round would leave the site with nothing to read"
    until(lambda: hub.job.status()["round"]["current"] == 3, not_yet=(KeyError,))
    lose(site)
    log = run(hub, site)
    assert "of round 2 was lost here: goes on with what it had entrusted to the hub" in log, (
        "by the key that it has now"
    )
    assert "is another than the one" not in log


def test_by_a_bucket(tmp_path, made, minio):
    quiet = undisturbed(tmp_path, made)
    job = job_in(minio, tmp_path / "job", "site-a", rounds=3, lifetime="Round", model=None)
    site = entrusting(tmp_path / "site", Reached(job))
    job.write_initial(site.initial_model().read_bytes())
    with Aggregator(job).ready() as aggregator:
        while "outcome" not in job.status():
            ended = site.call("train", "Steered")
            assert ended.code == 0, ended.log
            lose(site)
        log = aggregator.log()
    assert [each.model.sha256 for each in job.commits()] == quiet
    assert "Signature" not in log
