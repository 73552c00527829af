"""What a hub makes of masked updates is the mean of what their sites quantized, to the bit, and nothing where bytes are damaged."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from fedaggregator.engine import adding, folding, unmasking
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE
from fedcore.rounds.effects import Fold, Term
from fedcore.secagg.errors import AttemptFailedError
from tests.unit.fedtrainer.agent.masked_round import LAYOUT, STEPS, MaskedRound, tensors

SAMPLES = {"ada": 30, "bob": 120, "cleo": 77, "dora": 120, "emil": 1}


def fold_of(round_: MaskedRound) -> Fold:
    hub = round_.hub
    base = hub.store.put_once("models/base", round_.base)
    terms = tuple(
        Term(name, hub.manifests[name].payloads, hub.manifests[name].samples, None)
        for name in sorted(hub.state.survivors.survivors)
    )
    return Fold(4, 1, base, StrategySettings(), terms, secure=hub.state)


def summed(round_: MaskedRound, order: Fold | None = None, cancelled=lambda: False) -> Fold:
    store = round_.hub.store
    return unmasking.summed(store, Payloads(store, bytes(32)), LAYOUT, order or fold_of(round_), cancelled)


def mean_of(round_: MaskedRound, order: Fold | None = None) -> dict[str, np.ndarray]:
    (term,) = summed(round_, order).terms
    return load(round_.hub.store.get(term.payloads[UPDATE].object.key))


def assert_is_plain_mean(round_: MaskedRound) -> None:
    found, expected = mean_of(round_), round_.plain_mean(round_.hub.state.survivors.survivors)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.dtype == tensors(0)[name].dtype
        assert (
            values.tobytes()
            == expected[name]
            .astype(np.float32 if values.dtype != np.float64 else np.float64)
            .astype(values.dtype)
            .tobytes()
        )


@pytest.mark.parametrize("step", STEPS)
def test_one_site_lost_at_any_step(tmp_path, step):
    round_ = MaskedRound(tmp_path, SAMPLES, threshold=4)
    round_.run({"bob": step})
    assert len(round_.hub.state.survivors.survivors) == (4 if step in STEPS[:3] else 5)
    assert_is_plain_mean(round_)


def test_fewer_openings_than_the_threshold_open_nothing(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES, threshold=4)
    round_.run({"ada": "Open", "bob": "Open"})
    with pytest.raises(AttemptFailedError, match="3 openings are below the 4"):
        summed(round_)


def test_the_sum_is_folded_as_one_update(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run({"dora": "Mask"})
    order, store = summed(round_), round_.hub.store
    assert order.secure is None
    assert order.terms[0].samples == 228
    made = folding.fold(store, Payloads(store, bytes(32)), LAYOUT, order, lambda: False)
    model, mean = load(store.get(made.model.key)), mean_of(round_)
    assert np.array_equal(model["weight"], tensors(0)["weight"] + mean["weight"])
    assert np.array_equal(model["steps"], tensors(0)["steps"])


def test_sites_without_samples_leave_the_model_as_it_is(tmp_path):
    round_ = MaskedRound(tmp_path, dict.fromkeys(SAMPLES, 0))
    round_.run()
    assert summed(round_).terms == ()


@pytest.mark.parametrize(
    "change", [lambda data: bytes([data[0] ^ 1]) + data[1:], lambda data: data[:-4], lambda _: None]
)
def test_a_damaged_masked_update_is_named(tmp_path, change):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run()
    order = fold_of(round_)
    key = order.terms[2].payloads[UPDATE].object.key
    data = round_.hub.store.get(key)
    round_.hub.store.delete(key)
    if (changed := change(data)) is not None:
        round_.hub.store._objects[key] = changed  # as a disk would, behind the store's back
    with pytest.raises(DamagedError) as raised:
        summed(round_, order)
    assert list(raised.value.found) == [key]


def test_an_update_that_the_sites_did_not_sign_is_not_added(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run()
    order = fold_of(round_)
    with pytest.raises(AttemptFailedError, match="survivor set"):
        summed(round_, replace(order, terms=order.terms[1:]))


def test_a_sum_that_nobody_waits_for_is_given_up(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run()
    with pytest.raises(WorkCancelledError):
        summed(round_, cancelled=lambda: True)


@pytest.mark.parametrize("room", [64, 4096])
def test_blocks_decide_no_bit(tmp_path, monkeypatch, room):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run({"ada": "Mask"})
    expected = mean_of(round_)
    monkeypatch.setattr(adding, "LEAST_BYTES", room)
    monkeypatch.setattr(adding, "ROOM_BYTES", 0)
    assert {name: values.tobytes() for name, values in mean_of(round_).items()} == {
        name: values.tobytes() for name, values in expected.items()
    }
