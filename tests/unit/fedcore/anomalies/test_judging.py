"""Which updates are anomalous, and why: malicious ones among honest ones, and honest ones that are alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedapi.wire.anomalies import AnomalySettings
from fedcore.anomalies.judging import Measured, anomalous
from fedcore.anomalies.lengths import Lengths

ASKED = AnomalySettings()
LAYERS = {"body": 400, "head": 20}


def honest(count, spread=0.3, seed=3):
    """Updates that agree in a part."""
    rng = np.random.default_rng(seed)
    common = {name: rng.normal(size=size) for name, size in LAYERS.items()}
    return [
        {name: (part + spread * rng.normal(size=part.size)).astype("f4") for name, part in common.items()}
        for _ in range(count)
    ]


def times(update, factor, *layers):
    return {name: part * (factor if name in layers or not layers else 1) for name, part in update.items()}


def measured(updates, usual=None, root=""):
    clients = tuple(f"site-{number}" for number in range(len(updates)))
    lengths = Lengths.of(list(LAYERS), len(updates))
    for at, update in enumerate(updates):
        for name, part in update.items():
            lengths.add(at, [(name, part.size)], np.ascontiguousarray(part, dtype="f4"))
    rows = np.stack([np.concatenate([update[name] for name in LAYERS]) for update in updates]).astype("f8")
    return Measured(clients, lengths, usual or {}, rows @ rows.T, root)


def found(updates, asked=ASKED, **values):
    return {
        client: [fact.kind for fact in facts] for client, facts in anomalous(asked, measured(updates, **values)).items()
    }


@pytest.mark.parametrize("factor", [10, 1000])
def test_an_update_that_is_ten_times_longer_than_the_others(factor):
    updates = honest(5, spread=0.0)
    assert found([*updates[:4], times(updates[0], factor)]) == {"site-4": ["NormAboveOthers"]}


def test_honest_ones_are_not():
    assert found(honest(5, spread=3.0)) == {}
    assert found([times(update, 1000) for update in honest(5)]) == {}, "all are alike"


def test_less_than_half_may_agree_on_it():
    updates = honest(5)
    assert found([*updates[:3], times(updates[3], 50), times(updates[4], 50)]) == {
        "site-3": ["NormAboveOthers"],
        "site-4": ["NormAboveOthers"],
    }


def test_a_layer_that_stands_out():
    updates = honest(4)
    poisoned = [*updates[:3], times(updates[3], 30, "head")]
    assert found(poisoned) == {"site-3": ["LayerAboveOthers"]}
    facts = anomalous(ASKED, measured(poisoned))["site-3"]
    assert facts[0].layer == "head"
    assert "its part 'head' is" in facts[0].text


def test_a_layer_that_the_others_hardly_move_must_be_long_beside_the_whole():
    still = [times(update, 0.0, "head") for update in honest(4)]
    part = np.full(LAYERS["head"], 0.5, "f4")  # 2 of about 20
    assert found([*still[:3], {**still[3], "head": part}]) == {}
    assert found([*still[:3], {**still[3], "head": part * 10}]) == {"site-3": ["LayerAboveOthers"]}


def test_what_is_usual_of_the_site():
    updates = honest(3)
    usual = {f"site-{number}": (20.0, 21.0, 22.0) for number in range(3)}
    assert found(updates, usual=usual) == {}
    assert found(updates, usual=usual | {"site-1": (1.0, 1.1, 1.2)}) == {"site-1": ["NormAboveOwn"]}
    assert found(updates, usual=usual | {"site-1": (1.0, 1.1)}) == {}, "two say nothing yet"
    assert found([times(update, 12) for update in updates], usual=usual) == {}, "all have grown alike"


def test_two_sites_are_compared_with_their_own_alone():
    one, other = honest(2)
    assert found([one, times(other, 1000)]) == {}, "nobody can say which of them is wrong"
    usual = {"site-0": (20.0, 20.0, 20.0), "site-1": (20.0, 20.0, 20.0)}
    assert found([one, times(other, 1000)], usual=usual) == {"site-1": ["NormAboveOwn"]}


@pytest.mark.parametrize("count", [3, 4, 9])
def test_a_flipped_update_is_told_where_directions_are_looked_at(count):
    updates = honest(count, spread=1.0)
    flipped = [*updates[:-1], times(updates[-1], -1)]
    assert found(flipped) == {}
    assert found(flipped, AnomalySettings(min_cosine=-0.5)) == {f"site-{count - 1}": ["AgainstOthers"]}


def test_what_is_too_long_is_nobodys_direction():
    updates = honest(5)
    told = found([*updates[:4], times(updates[4], -1000)], AnomalySettings(min_cosine=-0.5))
    assert told == {"site-4": ["NormAboveOthers"]}


def test_a_majority_is_never_against_the_others():
    updates = honest(5)
    three = [*updates[:2], *(times(update, -1) for update in updates[2:])]
    assert found(three, AnomalySettings(min_cosine=0.9)).keys() <= {"site-0", "site-1"}


def test_the_root_client_is_not_judged():
    updates = honest(4)
    assert found([times(updates[0], 100), *updates[1:]], root="site-0") == {}


def test_updates_of_zeros_are_not():
    zero = [times(update, 0.0) for update in honest(3)]
    assert found(zero, AnomalySettings(min_cosine=-0.5)) == {}
    assert found([*zero[:2], honest(1)[0]]) == {}, "where the others send nothing there is no length to compare with"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_less_than_half_of_the_sites_cannot_make_an_honest_one_too_long(data):
    count = data.draw(st.integers(3, 9))
    bad = data.draw(st.integers(0, (count - 1) // 2))
    factors = data.draw(st.lists(st.floats(0, 1e6), min_size=bad, max_size=bad))
    updates = honest(count)
    for at, factor in enumerate(factors):
        updates[at] = times(updates[at], factor)
    assert {int(client.removeprefix("site-")) for client in found(updates)} <= set(range(bad))


def test_an_update_that_is_longer_by_more_than_a_number_can_say_is_told_by_a_number():
    lengths = Lengths.of(["w"], 4)
    for at, value in enumerate((1e-20, 1e-20, 1e-20, 1e200)):
        with np.errstate(over="ignore"):
            lengths.add(at, [("w", 1)], np.array([value]))
    found = anomalous(ASKED, Measured(tuple("abcd"), lengths))
    assert {client: [fact.value for fact in facts] for client, facts in found.items()} == {"d": [1e300]}
