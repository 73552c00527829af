"""How many are asked for, and that each policy gives the same for the same."""

import pytest

from fedcore.selection import choice
from fedcore.selection.candidates import Candidate
from tests.unit.fedcore.rounds.test_round_rules import config

POLICIES = {
    "All": {},
    "Random": {"per_round": 3},
    "Stratified": {"per_round": 3},
    "ResourceAware": {"per_round": 3},
    "Fair": {"per_round": 3},
    "Poisson": {"fraction": 0.5},
}
CANDIDATES = [Candidate(f"s{n}", stratum="ab"[n % 2], turn=n % 2, training_s=(float(n),)) for n in range(8)]


def test_every_policy_has_its_numbers_here():
    assert set(POLICIES) == set(choice.POLICIES)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_facts_give_the_same_sites_in_the_order_of_names(policy):
    made = config(policy=policy, **POLICIES[policy])
    drawn = [choice.selected(made, CANDIDATES, round_, 1) for round_ in range(1, 9)]
    assert drawn == [choice.selected(made, CANDIDATES[::-1], round_, 1) for round_ in range(1, 9)]
    assert all(list(chosen) == sorted(set(chosen)) for chosen in drawn)
    if policy != "All":
        assert len(set(drawn)) > 1, "it depends on the round"
        seed = config(policy=policy, seed=99, **POLICIES[policy])
        assert drawn != [choice.selected(seed, CANDIDATES, round_, 1) for round_ in range(1, 9)]


@pytest.mark.parametrize(
    ("values", "candidates", "wanted", "asked"),
    [
        ({"policy": "Random", "per_round": 10, "over_selection": 1.3}, 100, 10, 13),
        ({"policy": "Fair", "per_round": 10, "over_selection": 1.25}, 100, 10, 13),
        ({"policy": "Random", "per_round": 10, "over_selection": 1.3}, 12, 10, 12),
        ({"policy": "Stratified", "fraction": 0.1, "over_selection": 2.0}, 30, 3, 6),
        ({"policy": "ResourceAware"}, 7, 7, 7),
        ({"policy": "ResourceAware", "per_round": 2}, 7, 2, 2),
        ({"policy": "Random", "per_round": 900, "over_selection": 1.3, "lifetime": "Round"}, 2000, 900, 1000),
    ],
)
def test_how_many_are_wanted_and_asked(values, candidates, wanted, asked):
    made = config(**values)
    assert (choice.wanted(made, candidates), choice.asked(made, candidates)) == (wanted, asked)
