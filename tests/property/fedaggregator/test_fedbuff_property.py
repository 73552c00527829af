"""Asynchronous rounds: whatever comes when, and wherever the process dies, what is accepted counts once, and the buffers make the bits."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from fedcore.rounds.state import Phase
from tests.property.fedaggregator.buffered import CLIENTS, Sites, again, fedbuff, made, orders
from tests.property.fedaggregator.simulation import Hub, update_of

ACTS = ("work", "work", "work", "work", "work", "work", "ask", "fail", "restart", "time")
scripts = st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(CLIENTS)), min_size=20, max_size=100)
crash_lists = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=8)


def run(config, script, crashes) -> tuple[Hub, Sites]:
    hub = Hub(config)
    sites, crashes = Sites(hub), list(crashes)
    hub.store.arm(*crashes.pop()[:1], before=True) if crashes else None
    hub.act(hub.start)
    for what, client in script:
        if hub.finished():
            break
        if hub.store.countdown is not None and hub.store.countdown < 0:
            countdown, before = crashes.pop() if crashes else (None, True)
            hub.store.arm(countdown, before=before)
        for other in CLIENTS:
            hub.act(hub.hear, other)
        if what == "restart":
            hub.act(hub.recover)
        elif what == "time":
            hub.now += 60.0
            hub.act(hub.hear, *CLIENTS)
        else:
            hub.act(getattr(sites, what), client)
    hub.store.arm(None, before=True)
    return hub, sites


def check(hub: Hub, sites: Sites) -> None:
    commits = hub.commits()
    assert [c.round for c in commits] == list(range(len(commits)))
    counted = Counter((client, round_) for c in commits for client, round_ in orders(c).items())
    assert set(counted.values()) <= {1}
    for commit in commits[1:]:
        clients = [p.client for p in commit.participants]
        assert len(clients) == len(set(clients)) >= 2
        assert all(0 <= commit.round - round_ <= 3 for round_ in orders(commit).values())
    for client in CLIENTS:  # so each order follows from the commit of the one before
        mine = [round_ for c in commits for name, round_ in orders(c).items() if name == client]
        last = [c.round for c in commits for name in orders(c) if name == client]
        assert mine == sorted(set(mine))
        assert all(began > committed for began, committed in zip(mine[1:], last, strict=False))
    waiting = {(client, m.round) for client, m in hub.state.accepted.items()}
    accepted = {key for key, answer in sites.answered.items() if answer in ("Accepted", "Duplicate receipt")}
    assert accepted <= counted.keys() | waiting
    assert not waiting & counted.keys()


def formula(hub: Hub) -> None:
    """Algorithm 1, in float64."""
    commits = hub.commits()
    w = np.zeros((4, 5))
    for commit in commits[1:]:
        updates = [(commit.round - r, *update_of(client, r)) for client, r in sorted(orders(commit).items())]
        total = sum(samples for *_, samples in updates)
        for staleness, data, samples in updates:
            w += 0.5 * (1 + staleness) ** -0.5 * samples / total * load(data)["w"]
        assert np.allclose(load(hub.store.get(commit.model.key))["w"], w, rtol=1e-5, atol=1e-4)


@settings(max_examples=25)
@given(scripts, crash_lists, st.sampled_from([2, 3]))
def test_what_is_accepted_counts_once(script, crashes, buffer_size):
    config = fedbuff(buffer_size=buffer_size, max_failures=1000)
    hub, sites = run(config, script, crashes)
    check(hub, sites)
    formula(hub)
    before = dict(hub.state.accepted)
    hub.recover()
    assert dict(hub.state.accepted) == before
    assert made(hub.commits()) == again(config, hub.commits())


def busy(rounds: int) -> list[tuple[str, str]]:
    """Three sites that are done at once, and one whose updates are as old as they may be."""
    fast = [(what, client) for client in "abc" for what in ("ask", "deliver")]
    return [("ask", "d"), *fast, *fast, ("deliver", "d"), *fast] * rounds


def test_a_crash_at_every_single_write():
    config = fedbuff(buffer_size=2)
    hub, sites = run(config, busy(1), [])
    check(hub, sites)
    assert [c.round - r for c in hub.commits() for name, r in orders(c).items() if name == "d"] == [3]
    for position in range(hub.store.writes):
        for before in (True, False):
            other = Hub(config)
            theirs = Sites(other)
            other.store.arm(position, before=before)
            other.act(other.start)
            for what, client in busy(1):
                other.act(other.hear, *CLIENTS)
                other.act(getattr(theirs, what), client)
            other.store.arm(None, before=True)
            check(other, theirs)
            assert other.state.phase is Phase.COLLECTING
            assert made(other.commits()) == again(config, other.commits()), (position, before)
