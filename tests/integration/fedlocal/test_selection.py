"""Every selection policy, over-selection, a site's own frequency and overrides in `fedloom run`: who took part is in the store."""

import json

import pytest

from fedapi.wire.job import JobConfig
from fedcore.selection import choice
from fedcore.selection.candidates import Candidate
from tests.integration.fedlocal import together
from tests.integration.fedlocal.runs import Lab, job, site

NAMES = ("east", "north", "south", "west")


def sites(**more):
    """Two regions; `more` of each by name."""
    made = []
    for number, name in enumerate(NAMES):
        body = site(name)
        body["metadata"]["labels"] = {"size": "small" if name == "west" else "big"}
        body["spec"] |= {"region": f"r{number % 2}"} | more.get(name, {})
        made.append(body)
    return made


def ran(folder, *documents):
    lab = Lab.of(folder, *documents)
    code, output = lab.run()
    assert code == 0, output
    return committed(lab.state)


def committed(state):
    commits = {}
    for path in state.glob("claims/*/control/**/commit.json"):
        commit = json.loads(path.read_text())
        commits[commit["round"]] = commit
    return [commits[number] for number in sorted(commits) if number]


def took_part(commits):
    return [tuple(each["client"] for each in commit["participants"]) for commit in commits]


REGIONS = {"stratified": {"fields": ["Region"]}}
WHO = {
    "Random": {"perRound": 2},
    "Stratified": {"perRound": 2} | REGIONS,
    "ResourceAware": {"perRound": 3},
    "Fair": {"perRound": 2},
    "Poisson": {"fraction": "0.4"},
}


@pytest.fixture(scope="module")
def each_policy(tmp_path_factory):
    """{policy: its job's ending and state folder}."""
    asked = {policy: {"policy": policy, "minAvailable": 2} | WHO[policy] for policy in WHO}
    jobs = [job(policy.lower(), rounds=6, seed=6, clients=asked[policy]) for policy in WHO]
    folder = Lab.of(tmp_path_factory.mktemp("policies"), *jobs, *sites()).folder
    done = together.run_all(folder, [policy.lower() for policy in WHO], trainers="own")
    return {policy: done[policy.lower()] for policy in WHO}


@pytest.mark.parametrize("policy", WHO)
def test_a_policy_selects_by_the_seed_and_what_is_committed(policy, each_policy):
    asked, (ending, state) = WHO[policy], each_policy[policy]
    assert ending.phase == "Complete", ending.message
    commits = committed(state.root)
    drawn = took_part(commits)
    assert [bool(each.get("skipped")) for each in commits] == [not who for who in drawn]
    if policy in ("Random", "Stratified", "Poisson"):
        config = JobConfig(
            namespace="default", name=policy.lower(), uid="any", rounds=6, seed=6, policy=policy,
            per_round=asked.get("perRound"), fraction=float(asked.get("fraction", 0)) or None,
        )  # fmt: skip
        candidates = [Candidate(name, f"r{number % 2}") for number, name in enumerate(NAMES)]
        assert drawn == [choice.selected(config, candidates, round_, 1) for round_ in range(1, 7)]
        assert len(set(drawn)) > 1
    if policy == "Stratified":
        assert all(len({NAMES.index(name) % 2 for name in who}) == 2 for who in drawn), "one of each region"
    if policy == "Fair":
        assert all(sorted(a + b) == sorted(NAMES) for a, b in zip(drawn[::2], drawn[1::2], strict=True))


def test_the_round_closes_at_the_count_that_is_wanted(tmp_path):
    """`south` never comes: with the others the round is full, long before its deadline."""
    asked = {"policy": "Random", "perRound": 3, "minAvailable": 3}
    late = {"south": site("south", LAB_MODE="never")["spec"]}
    limits = {"overSelection": "1.34", "deadline": "1h", "quorum": "100%"}
    commits = ran(tmp_path, job(rounds=3, clients=asked, round=limits), *sites(**late))
    assert took_part(commits) == [("east", "north", "west")] * 3
    assert commits[0]["missed"] == ["south"]
    closes = [json.loads(path.read_text()) for path in tmp_path.glob("state/lab/claims/*/control/**/close.json")]
    assert {close["reason"] for close in closes} == {"Wanted"}


def test_a_site_takes_part_every_other_round_and_another_trains_otherwise(tmp_path):
    asked = {"minAvailable": 4, "overrides": [{"selector": {"matchLabels": {"size": "small"}}, "batchSize": 8}]}
    spared = {"north": {"participation": {"everyRounds": 2}}}
    commits = ran(tmp_path, job(rounds=4, clients=asked), *sites(**spared))
    assert ["north" in who for who in took_part(commits)] == [True, False, True, False]
    steps = {each["client"]: each["steps"] for each in commits[0]["participants"]}
    assert steps == {"east": 1, "north": 1, "south": 1, "west": 4}  # of 32 samples
    plans = [json.loads(path.read_text()) for path in tmp_path.glob("state/lab/claims/*/control/**/plan.json")]
    assert {tuple(plan["overrides"][0]["clients"]) for plan in plans} == {("west",)}


def test_who_was_never_drawn_is_not_said_to_have_failed(tmp_path):
    clients = {"policy": "Random", "perRound": 1}
    lab = Lab.of(tmp_path, job(rounds=1, clients=clients), site("north"), site("south"))
    code, output = lab.run()
    assert code == 0, output
    (other,) = {"north", "south"} - {name for each in took_part(committed(lab.state)) for name in each}
    assert f"never drawn: {other}\n" in output
    assert "no update of theirs" not in output
