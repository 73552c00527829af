"""Which models stay at hand: the last, the best by whatever counts, and those of which it is not known."""

import pytest

from fedapi.wire.job import RollbackTo
from fedapi.wire.store import EvaluationRecord
from fedstore import history
from fedstore.care import superseded
from tests.unit.fedstore import test_history as real


def measured(round_, **metrics):
    return EvaluationRecord(job_uid="u", round=round_, model_sha256="0" * 64, metrics=metrics, samples=1)


@pytest.mark.parametrize(
    ("count", "records", "needed"),
    [
        (0, [], set()),
        (1, [], {0}),
        (5, [], {0, 1, 2, 3, 4}),  # nothing is known of any
        (6, [measured(n, accuracy=a) for n, a in enumerate((0.1, 0.9, 0.5, 0.4, 0.6))], {0, 1, 4, 5}),
        (6, [measured(n, loss=a) for n, a in enumerate((3.0, 1.0, 2.0, 2.5, 1.5))], {0, 1, 4, 5}),
        (6, [measured(n, a=x) for n, x in enumerate((1, 2, 3, 4))] + [measured(4, b=1)], {0, 3, 4, 5}),
        (6, [measured(n, a=x) for n, x in enumerate((1, 3, 2, 3, 2))], {0, 1, 3, 4, 5}),  # two are the best
        (6, [measured(0, a=1), measured(1, a=2), measured(2), measured(3, a=1.5)], {0, 1, 2, 4, 5}),  # 2: no metrics
    ],
)
def test_rounds_that_stay_at_hand(count, records, needed):
    assert superseded.needed_rounds(count, records) == needed


@pytest.fixture
def job():
    hub = real.Hub(real.job(real.SITES, rounds=6))
    real.run(hub)
    return hub.store, hub.state.layout


def test_of_a_real_job_the_last_is_never_superseded(job):
    found, rounds = superseded.models(*job), history.committed(*job)
    assert set(found) == {each.record.model.key for each in rounds if each.kept}
    assert found[rounds[-1].record.model.key] is False
    assert found[rounds[-2].record.model.key] is False
    assert [each.record.round for each in rounds if found[each.record.model.key]] == [1, 2, 3, 4], (
        "5 is the best, 0 the worst"
    )


def test_after_a_rollback_a_model_of_several_rounds_is_needed_when_one_of_them_is():
    hub = real.Hub(real.job(real.SITES, rounds=9))
    hub.act(hub.start)
    hub.act(hub.hear, *real.SITES)
    while hub.state.tip is None or hub.state.tip.round < 3:
        for client in real.SITES:
            hub.act(hub.evaluate, client)
            hub.act(hub.deliver, client)
    hub.with_config(rollback_to=RollbackTo(round=0))
    hub.act(hub.hear, *real.SITES)
    hub.act(hub.hear, *real.SITES)
    hub.with_config(rollback_to=None)
    while not hub.finished():
        for client in real.SITES:
            hub.act(hub.evaluate, client)
            hub.act(hub.deliver, client)
        if hub.state.closing:
            hub.now += 1000
    store, layout = hub.store, hub.state.layout
    rounds = history.committed(store, layout)
    needed = superseded.needed_rounds(len(rounds), superseded.evaluations(store, layout, rounds))
    back = next(each.record for each in rounds if each.record.rolled_back_to is not None)
    assert rounds[0].record.model == back.model
    assert 0 in needed
    assert back.round not in needed
    assert not superseded.models(store, layout)[back.model.key]


def test_an_evaluation_that_cannot_be_read_keeps_its_model_at_hand(job):
    store, layout = job
    rounds = history.committed(store, layout)
    assert len(list(superseded.evaluations(store, layout, rounds))) == len(rounds) - 1
    for key in [key for key, said in history.records_of(store, layout) if said.name == "evaluation.json"]:
        store.delete(key)
    assert not any(superseded.models(store, layout).values())
