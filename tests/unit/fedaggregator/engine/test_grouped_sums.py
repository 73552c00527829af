"""One malicious site of nine under masks: it spoils the mean of all, and one group's of three, which a median bears."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from fedaggregator.engine import folding, judging, unmasking
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.secagg import Groups
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE
from fedcore.rounds.effects import Fold, Judging, Term
from fedcore.secagg import hub
from tests.unit.fedtrainer.agent.masked_round import LAYOUT, LIMIT, MaskedRound, tensors

SITES = [f"site-{number}" for number in range(9)]
ATTACKER, HONEST = SITES[4], 0.1


@pytest.fixture(params=[None, Groups(size=3, minimum=3)], ids=["one sum", "groups"])
def round_(request, tmp_path) -> MaskedRound:
    made = MaskedRound(tmp_path, dict.fromkeys(SITES, 10), threshold=5, groups=request.param)
    drawn = np.random.default_rng(5)
    for name in SITES:
        for key, value in made.updates[name].items():
            if value.dtype.kind == "f":
                found = HONEST + 0.01 * drawn.normal(size=value.shape)
                made.updates[name][key] = (found if name != ATTACKER else np.full(value.shape, -LIMIT)).astype(
                    value.dtype
                )
    made.run()
    return made


def order_of(made: MaskedRound, strategy: str) -> Fold:
    manifests = made.hub.manifests
    base = made.hub.store.put_once("models/base", made.base)
    counted = sorted(name for sites in hub.summed(made.hub.state).values() for name in sites)
    terms = tuple(Term(name, manifests[name].payloads, manifests[name].samples, None) for name in counted)
    return Fold(4, 1, base, StrategySettings(name=strategy), terms, secure=made.hub.state)


def summed(made: MaskedRound, strategy: str) -> Fold:
    store = made.hub.store
    return unmasking.summed(store, Payloads(store, bytes(32)), LAYOUT, order_of(made, strategy), lambda: False)


def moved(made: MaskedRound, order: Fold) -> float:
    """By how much the model's weights have moved, in the mean."""
    store = made.hub.store
    folded = folding.fold(store, Payloads(store, bytes(32)), LAYOUT, order, lambda: False)
    return float(np.mean(load(store.get(folded.model.key))["weight"] - tensors(0)["weight"]))


def test_a_median_over_group_means_bears_it_and_the_mean_of_all_does_not(round_):
    grouped = round_.order.secure.terms.groups is not None
    assert moved(round_, summed(round_, "FedAvg")) == pytest.approx((8 * HONEST - LIMIT) / 9, abs=0.01)
    if grouped:
        assert moved(round_, summed(round_, "Median")) == pytest.approx(HONEST, abs=0.01)


def test_each_group_is_the_exact_mean_of_its_sites(round_):
    order = summed(round_, "FedAvg")
    groups = [set(term.sites or SITES) for term in order.terms]
    assert len(groups) == (3 if round_.order.secure.terms.groups else 1)
    assert set().union(*groups) == set(SITES)
    for term, sites in zip(order.terms, groups, strict=True):
        found = load(round_.hub.store.get(term.payloads[UPDATE].object.key))
        expected = round_.plain_mean(sites)
        assert np.array_equal(found["weight"], expected["weight"].astype(np.float32))
        assert term.samples == 10 * len(sites)


def test_the_group_with_it_is_found_named_and_left_out(round_):
    if round_.order.secure.terms.groups is None:
        return
    settings = AnomalySettings(action="Exclude")
    order = replace(summed(round_, "FedAvg"), judging=Judging(settings, {}, 5))
    store = round_.hub.store
    found = judging.judged(store, Payloads(store, bytes(32)), LAYOUT, order, lambda: False)
    (anomaly,) = found.anomalies
    assert ATTACKER in anomaly.sites
    assert len(anomaly.sites) == 3
    assert set(anomaly.sites) == found.excluded
    left = order.without(found.excluded)
    assert left.shortfall(found.excluded) == ""
    assert (
        replace(left, judging=Judging(settings, {}, 7)).shortfall(found.excluded).endswith("6 are left, 7 were needed")
    )
    assert moved(round_, left) == pytest.approx(HONEST, abs=0.01)
