"""Whatever the order of arrival and wherever the process is killed: the same commits, each once, each update once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedapi.wire.compression import Encoding
from fedapi.wire.storekey import BroadcastKey
from fedstore import history
from tests.property.fedaggregator.simulation import Hub, job

CLIENTS = ("a", "b", "c")
RELAXED = settings(max_examples=60)


def run(order: list[str], crashes: list[tuple[int, bool]], config=None) -> Hub:
    """Runs the job: sites act in this order over and over; the process dies at each of the given writes in turn."""
    hub = Hub(config or job(CLIENTS))
    crashes = list(crashes)

    def arm():
        countdown, before = crashes.pop() if crashes else (None, True)
        hub.store.arm(countdown, before=before)

    arm()
    hub.act(hub.start)
    for step in range(400):
        if hub.finished():
            break
        if hub.store.countdown is not None and hub.store.countdown < 0:
            arm()
        client = order[step % len(order)]
        hub.act(hub.hear, client)
        hub.act(hub.evaluate, client)
        hub.act(hub.deliver, client)
    hub.store.arm(None, before=True)
    assert hub.finished()
    return hub


def digests(hub: Hub) -> list[str]:
    return [commit.model.sha256 for commit in hub.commits()]


REFERENCE = digests(run(list(CLIENTS), []))

orders = st.permutations(CLIENTS).flatmap(
    lambda base: st.lists(st.sampled_from(CLIENTS), max_size=6).map(lambda more: [*base, *more])
)
crash_lists = st.lists(st.tuples(st.integers(0, 25), st.booleans()), max_size=5)


@RELAXED
@given(orders, crash_lists, st.sampled_from(["Job", "Round"]))
def test_order_and_crashes_change_nothing(order, crashes, lifetime):
    hub = run(order, crashes, job(CLIENTS, lifetime=lifetime))
    assert digests(hub) == REFERENCE
    commits = hub.commits()
    assert [c.round for c in commits] == [0, 1, 2, 3]
    for commit in commits[1:]:
        assert [p.client for p in commit.participants] == list(CLIENTS)
    assert {c.client: hub.state.site(c.client).rounds for c in commits[-1].participants} == dict.fromkeys(CLIENTS, 3)
    assert hub.state.end is not None
    assert hub.state.end.reason == "RoundsCompleted"


@pytest.mark.parametrize("download", [None, Encoding(codec="Int8")])
def test_a_crash_at_every_single_write(download):
    """However sites get a model: the same updates make the same one, and nothing of the way down is left over."""
    config = job(CLIENTS, download=download)
    hub = run(list(CLIENTS), [], config)
    assert digests(hub) == REFERENCE
    for position in range(hub.store.writes):
        for before in (True, False):
            hub = run(list(CLIENTS), [(position, before)], config)
            assert digests(hub) == REFERENCE, (position, before)
            hub.start()
            left = [said for _, said in history.objects(hub.store, hub.state.layout) if isinstance(said, BroadcastKey)]
            assert left == [], (position, before)


@RELAXED
@given(st.integers(0, 2**53 - 1), st.integers(1, 5), st.integers(0, 60))
def test_a_restart_keeps_the_plan(seed, per_round, crash):
    clients = tuple("abcdef")
    config = job(clients, seed=seed, policy="Random", per_round=per_round, min_available=1)
    plans = []
    for crashes in ([], [(crash, True)]):
        hub = run(list(clients), crashes, config)
        plans.append([[p.client for p in c.participants] for c in hub.commits()])
    assert plans[0] == plans[1]


@RELAXED
@given(
    st.lists(st.sampled_from(["deliver-a", "deliver-b", "fail-a", "fail-b", "fail-c", "time", "restart"]), max_size=25)
)
def test_rounds_end_whatever_happens(script):
    """Quorum 2 of 3: any mix of updates, failures, silence and restarts gives commits in sequence or a named failure."""
    hub = Hub(job(CLIENTS, quorum=2, grace_after_quorum_s=5.0, max_failures=2))
    hub.start()
    hub.hear(*CLIENTS)
    for word in [*script, *["time"] * 40]:
        what, _, client = word.partition("-")
        if hub.finished():
            break
        if what == "deliver":
            hub.deliver(client)
        elif what == "fail":
            hub.fail(client)
        elif what == "time":
            hub.now += 50.0
            hub.hear("a", "b")
        else:
            hub.start()
    assert hub.finished()
    commits = hub.commits()
    assert [c.round for c in commits] == list(range(len(commits)))
    for commit in commits[1:]:
        clients = [p.client for p in commit.participants]
        assert clients == sorted(set(clients))
        assert len(clients) >= 2
    assert hub.state.end is not None
    assert hub.state.end.reason in ("RoundsCompleted", "QuorumNotReached")
