"""What a policy reads of the past is in the store: an aggregator that begins anew at any point plans what the old one would have."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaggregator.engine import records
from fedapi.wire.commit import Participant
from fedapi.wire.roster import RosterEntry
from fedapi.wire.training import TrainingOverride
from fedcore.rounds import participation, planning
from fedcore.rounds.state import Phase
from tests.property.fedaggregator.simulation import Hub, job

CLIENTS = tuple("abcdefg")
POLICIES = {
    "Random": {"per_round": 3},
    "Stratified": {"per_round": 3},
    "ResourceAware": {"per_round": 3},
    "Fair": {"per_round": 3},
    "Poisson": {"fraction": 0.3},
    "Fair, over-selected": {"per_round": 2, "over_selection": 1.5},
}


def config(policy: str, seed: int):
    roster = tuple(
        RosterEntry(name=name, stratum=n % 2, every_rounds=1 + (n == 3), override=0 if n == 4 else None)
        for n, name in enumerate(CLIENTS)
    )
    made = job(CLIENTS, seed=seed, policy=policy.partition(",")[0], rounds=6, min_available=1, **POLICIES[policy])
    more = {"roster": roster, "strata": ("x", "y"), "overrides": (TrainingOverride(batch_size=4),)}
    return made.model_copy(update=more | {"quorum": "50%", "max_failures": 5, "grace_after_quorum_s": 5.0})


def known(hub: Hub):
    """What decides the next plan, and what the status counts."""
    state = hub.state
    parts = {name: state.site(name).part for name in CLIENTS}
    missed = [(failure.attempt, failure.missed, failure.open_s) for failure in state.void]
    plan = state.current.plan.model_copy(update={"checksum": None}) if state.current else None
    return state.round, state.attempt, parts, missed, plan


def restarted(hub: Hub) -> Hub:
    """Another aggregator on the same store, once it knows as many sites as the first."""
    again = Hub(hub.config, hub.store)
    again.now = hub.now
    layout = hub.state.layout
    head, _ = records.read_head(hub.store, layout)
    log = records.load_log(hub.store, layout, head)
    again.state, _ = hub.mode.recovered(hub.config, log, hub.now)
    return again


WORDS = ["deliver", "deliver", "deliver", "fail", "time", "hour", "restart"]
scripts = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(CLIENTS)), max_size=60)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25)
@given(scripts, st.integers(0, 1000))
def test_a_restarted_aggregator_knows_what_the_old_one_did(policy, script, seed):
    hub = Hub(config(policy, seed))
    hub.start()
    hub.hear(*CLIENTS)
    for what, client in script:
        if hub.finished():
            break
        if what == "deliver":
            hub.deliver(client)
        elif what == "fail":
            hub.fail(client)
        elif what == "restart":
            hub.start()
            hub.hear(*CLIENTS)
        else:
            hub.now += 3.0 if what == "time" else 101.0
            hub.hear(*CLIENTS)
        if hub.state.phase in (Phase.COLLECTING, Phase.WAITING):
            assert known(restarted(hub)) == known(hub)
            assert planned(restarted(hub), hub) == planned(hub, hub)


def planned(hub: Hub, told: Hub) -> tuple[str, ...]:
    """Whom it would select for the next attempt."""
    sites = {name: replace(hub.state.site(name), heard_at=told.now) for name in CLIENTS}
    state = replace(hub.state.with_sites(sites), phase=Phase.WAITING, current=None, end=None)
    state, _ = planning.planned(state, told.now + 2.0)
    return state.current.plan.selected if state.current else ()


CLIENT_SETS = st.lists(
    st.tuples(st.lists(st.sampled_from(CLIENTS), unique=True), st.lists(st.sampled_from(CLIENTS), unique=True)),
    min_size=1,
    max_size=12,
)


@given(CLIENT_SETS)
def test_participation_read_from_the_newest_back_is_what_it_was_as_it_happened(rounds):
    hub = Hub(job(CLIENTS))
    hub.start()
    bare = hub.commits()[0]
    commits = [
        bare.model_copy(
            update={
                "round": number,
                "planned_at": 10.0 * number,
                "committed_at": 10.0 * number + len(took) + 1,
                "participants": tuple(participant(name, number) for name in took),
                "missed": tuple(sorted(set(missed) - set(took))),
            }
        )
        for number, (took, missed) in enumerate(rounds, 1)
    ]
    forward: dict = {}
    for commit in commits:
        forward |= participation.with_newer(forward, commit)
    for split in range(len(commits) + 1):
        back: dict = {}
        for commit in reversed(commits[:split]):
            back |= participation.with_older(back, commit)
        for commit in commits[split:]:
            back |= participation.with_newer(back, commit)
        assert back == forward


def participant(name: str, number: int) -> Participant:
    return Participant(client=name, samples=1, payloads={"update": "a" * 64}, training_s=float(number))


def run(policy: str, crash: tuple[int, bool] | None) -> Hub:
    """All sites deliver in turn; the process dies once, before or after the n-th write."""
    hub = Hub(config(policy, 11).model_copy(update={"quorum": "100%", "grace_after_quorum_s": None}))
    if crash:
        hub.store.arm(crash[0], before=crash[1])
    hub.act(hub.start)
    for step in range(300):
        if hub.finished():
            break
        if step % len(CLIENTS) == 0:
            hub.now += 30.0
        hub.act(hub.hear, *CLIENTS)
        hub.act(hub.deliver, CLIENTS[step % len(CLIENTS)])
    assert hub.finished()
    hub.store.arm(None, before=True)
    return hub


def drawn(hub: Hub) -> list[tuple]:
    return [(commit.skipped, *(each.client for each in commit.participants)) for commit in hub.commits()]


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if "over" not in policy])
def test_a_crash_at_every_write_changes_nobody_s_part(policy):
    """Not so where the round closes at a count: what became durable just before the crash counts then (ADR 16)."""
    undisturbed = run(policy, None)
    for position in range(undisturbed.store.writes):
        for before in (True, False):
            assert drawn(run(policy, (position, before))) == drawn(undisturbed), (position, before)
