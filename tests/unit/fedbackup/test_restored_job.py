"""A job that was restored goes on as if nothing had happened: same seed, same updates, same final model; and is a job like any other."""

import pytest

from fedaggregator.engine.salvage import repaired
from fedapi.wire.job import RollbackTo
from fedapi.wire.layout import Layout
from fedapi.wire.strategy import StrategySettings
from fedbackup.freezing import Thaw
from fedbackup.verify import Demand, Verifier
from fedstore import history
from fedstore.errors import MissingError
from tests.property.fedaggregator.simulation import CrashingStore
from tests.unit.fedbackup.jobs import NEW, OLD, SIGNER, Clock, archive, finish, hub, maker, restore, train

THIRD = "0b5c1f9e-0000-4000-8000-000000000003"
MOMENTUM = StrategySettings(name="FedAvgM", parameters={"learning_rate": 0.5, "momentum": 0.9})


@pytest.fixture(scope="module", params=[StrategySettings(), MOMENTUM], ids=["FedAvg", "FedAvgM"])
def strategy(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(strategy):
    return finish(hub(strategy=strategy))


def restored_hub(from_, strategy, uid=NEW, **values):
    store, _ = restore(from_, uid=uid, target=CrashingStore(), **values)
    return hub(uid, store, strategy=strategy)


def test_it_ends_with_the_model_of_the_undisturbed_run(strategy, undisturbed):
    first = hub(strategy=strategy)
    train(first, 3)
    to = archive()
    maker(first, to).made()
    again = restored_hub(to, strategy)
    assert again.state.tip.round == 3
    assert finish(again) == undisturbed
    commits = again.commits()
    assert [commit.round for commit in commits] == [0, 1, 2, 3, 4, 5, 6]
    assert [commit.job_uid for commit in commits] == [OLD] * 4 + [NEW] * 3
    rounds = history.committed(again.store, again.state.layout)
    assert all(each.kept for each in rounds), "models of both lives are found"
    assert again.store.get(history.of_round(rounds, 2).model.key)


def test_it_survives_kills_and_is_restored_a_second_time(strategy, undisturbed):
    first = hub(strategy=strategy)
    train(first, 2)
    to = archive()
    maker(first, to).made()
    second = restored_hub(to, strategy)
    train(second, 4)
    second.recover()
    second_archive = archive(uid=NEW)
    maker(second, second_archive).made()
    third = restored_hub(second_archive, strategy, uid=THIRD)
    assert finish(third) == undisturbed
    assert [commit.job_uid for commit in third.commits()] == [OLD] * 3 + [NEW] * 2 + [THIRD] * 2


@pytest.mark.parametrize("damage", ["HEAD is lost", "HEAD is garbage", "the last model is damaged"])
def test_its_store_is_repaired_like_any_other(undisturbed, strategy, damage):
    first = hub(strategy=strategy)
    train(first, 3)
    to = archive()
    maker(first, to).made()
    store, _ = restore(to, target=CrashingStore())
    layout = Layout("ns", "job", NEW)
    assert list(repaired(store, layout)) == ["the store is whole: nothing was changed"]
    if damage == "HEAD is lost":
        store.delete(layout.head)
    elif damage == "HEAD is garbage":
        store._objects[layout.head] = b"{"
    else:
        key = history.of_round(history.committed(store, layout), 3).model.key
        store._objects[key] = store._objects[key][:-1] + b"\0"
    lines = list(repaired(store, layout))
    expected = 2 if damage == "the last model is damaged" else 3
    assert f"HEAD was set to round {expected}" in lines[-1]
    assert finish(hub(NEW, store, strategy=strategy)) == undisturbed


def test_an_older_round_is_begun_from(strategy, undisturbed):
    first = hub(strategy=strategy)
    train(first, 5)
    to = archive()
    maker(first, to).made()
    again = restored_hub(to, strategy, round=2)
    assert again.state.tip.round == 2
    assert finish(again) == undisturbed


def test_what_the_history_did_not_keep_is_not_there(strategy):
    first = hub(strategy=strategy, history_keep=2)
    train(first, 5)
    to = archive()
    job = {"kind": "FederatedJob", "metadata": {"name": "job"}, "spec": {"storage": {"history": {"keep": 2}}}}
    made = maker(first, to, objects=(job,)).made()
    assert made.trouble is None
    assert {4, 5} <= set(made.manifest.models) < set(range(6))
    store, _ = restore(to)
    with pytest.raises(MissingError, match="round 1 is not kept"):
        history.of_round(history.committed(store, Layout("ns", "job", NEW)), 1)


def test_a_finished_job_stays_so_unless_more_is_asked_for(strategy, undisturbed):
    first = hub(strategy=strategy)
    assert finish(first) == undisturbed
    to = archive()
    maker(first, to).made()
    again = restored_hub(to, strategy)
    assert again.finished()
    assert again.state.tip.model.sha256 == undisturbed
    store, done = restore(to, uid=THIRD, target=CrashingStore(), rounds=8)
    assert done.head.finished is None
    more = hub(THIRD, store, strategy=strategy, rounds=8)
    train(more, 8)
    assert [commit.round for commit in more.commits()] == list(range(9))


def test_into_the_emptied_store_of_the_same_job(strategy, undisturbed):
    first = hub(strategy=strategy)
    train(first, 3)
    to = archive()
    maker(first, to).made()
    again = restored_hub(to, strategy, uid=OLD)
    assert again.interpreter._head.lineage == ()
    assert finish(again) == undisturbed


def gone_back(hub, to: int) -> None:
    """By one more commit, at the next occasion."""
    before = hub.state.tip.round
    hub.with_config(rollback_to=RollbackTo(round=to, id=str(to)))
    hub.hear("a")
    hub.hear("a")
    assert hub.state.tip.round == before + 1
    assert hub.state.tip.rolled_back_to == to


def test_after_a_rollback_the_older_model_is_what_is_proved_and_gone_on_from(strategy, tmp_path):
    first = hub(strategy=strategy)
    train(first, 3)
    gone_back(first, 1)
    to, clock = archive(), Clock()
    assert maker(first, to, clock).made().trouble is None
    proof = Verifier(to, SIGNER, tmp_path, None, Demand(), Thaw(0.0, clock, clock.pause, print), clock).proved()
    assert proof.error is None, proof.error
    again = restored_hub(to, strategy, uid=NEW)
    assert again.state.tip.rolled_back_to == 1
    assert finish(again) == finish(first)


def test_a_restored_job_goes_back_to_a_round_of_the_job_before(strategy):
    first = hub(strategy=strategy)
    train(first, 3)
    to = archive()
    maker(first, to).made()
    again = restored_hub(to, strategy)
    train(again, 4)
    train(first, 4)
    for each in (first, again):
        gone_back(each, 2)
    assert finish(again) == finish(first)
