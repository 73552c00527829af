"""Noise that the sites add under their masks: what the hub sees is the noisy sum over a fixed number, of parameters alone."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

from fedaggregator.engine import folding
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.privacy import Mechanism
from fedapi.wire.update import UPDATE
from tests.unit.fedaggregator.engine.test_unmasking import fold_of, summed
from tests.unit.fedtrainer.agent import masked_round
from tests.unit.fedtrainer.agent.masked_round import LAYOUT, PARAMETERS, MaskedRound, refusal, tensors

SAMPLES = {"ada": 30, "bob": 120, "cleo": 77, "dora": 120, "emil": 0}
CLIP = 2.0


@pytest.fixture(autouse=True)
def _the_same_noise_in_every_run(monkeypatch):
    masked_round.seeded(monkeypatch)


def mechanism(noise_multiplier: float, denominator: int = 5) -> Mechanism:
    said = {"mode": "Distributed", "clip_norm": CLIP, "clipping": "Flat", "delta": 1e-5}
    return Mechanism(noise_multiplier=noise_multiplier, denominator=denominator, **said)


def made(tmp_path, noise_multiplier: float, lost=None, **round_) -> tuple[MaskedRound, dict[str, np.ndarray]]:
    round_ = MaskedRound(tmp_path, SAMPLES, privacy=mechanism(noise_multiplier), weighs=False, **round_)
    round_.run(lost)
    order = replace(fold_of(round_), privacy=round_.order.secure.privacy, tensors=PARAMETERS)
    order = summed(round_, order)
    store = round_.hub.store
    result = folding.fold(store, Payloads(store, bytes(32)), LAYOUT, order, lambda: False)
    model = load(store.get(result.model.key))
    assert set(load(store.get(result.hub_state.key))) == {"half", "weight", "wide"}, (
        "what tells parameters stays with the job"
    )
    return round_, {name: value - tensors(0)[name] for name, value in model.items()}


def clipped_mean(round_: MaskedRound, survivors) -> dict[str, np.ndarray]:
    total = {name: np.zeros(tensors(0)[name].shape) for name in PARAMETERS}
    for site in survivors:
        values = {name: round_.updates[site][name].astype(np.float64) for name in PARAMETERS}
        norm = np.sqrt(sum((each**2).sum() for each in values.values()))
        for name, each in values.items():
            total[name] += each * min(1.0, CLIP / norm) / 5
    return total


def test_with_next_to_no_noise_it_is_the_mean_of_clipped_updates_over_the_fixed_number(tmp_path):
    round_, change = made(tmp_path, 1e-5, lost={"bob": "Mask"})
    for name, expected in clipped_mean(round_, set(SAMPLES) - {"bob"}).items():
        assert np.allclose(change[name], expected, atol=2e-3 if name == "half" else 3e-5)
    assert not change["steps"].any()
    assert not change["wide"].any(), "no parameter by what the order says, and not told"


def test_the_noise_is_that_of_the_fewest_survivors(tmp_path):
    """Five sites, each with noise for a threshold of 3: a variance of 5/3, of which 4/3 are there with one lost."""
    round_, change = made(tmp_path, 1.0, lost={"bob": "Mask"})
    mean = clipped_mean(round_, set(SAMPLES) - {"bob"})
    found = (change["weight"] - mean["weight"]).std() / (CLIP / 5)
    assert found == pytest.approx((4 / 3) ** 0.5, rel=0.1)


def test_a_site_that_is_killed_adds_the_same_noise_again(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES, privacy=mechanism(1.0), weighs=False)
    round_.run()
    state = round_.hub.state
    before = state.masked_sha256
    round_.hub.state = state.model_copy(
        update={"masked_sha256": {}, "survivors": None, "request": None, "consents": {}, "openings": {}}
    )
    round_.run()
    assert round_.hub.state.masked_sha256 == before


def test_a_hub_that_weighs_updates_whose_noise_is_sized_for_equal_ones(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES, privacy=mechanism(1.0), weighs=True)
    [round_.turn(name) for name in list(SAMPLES)[:-1]]
    assert "are to count alike" in str(refusal(lambda: [round_.turn(name) for name in ("emil", "ada")]))


def test_no_payload_says_how_much_was_clipped(tmp_path):
    round_, _ = made(tmp_path, 1.0)
    assert {each.payloads[UPDATE].clipped for each in round_.hub.manifests.values()} == {0}
