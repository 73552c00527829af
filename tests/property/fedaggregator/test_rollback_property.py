"""Wherever a job goes back to, and wherever the process is killed in it: once, by one more commit, and all is that round's again."""

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from fedapi.wire.job import RollbackTo
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds.sites import Contribution
from fedcore.rounds.state import Phase
from tests.property.fedaggregator.simulation import Hub, job

CLIENTS = ("a", "b", "c")
STRATEGY = StrategySettings(name="FedAvgM", parameters={"momentum": 0.9, "learning_rate": 0.5})
RELAXED = settings(max_examples=30)


def walked(hub: Hub, until) -> None:
    for step in range(400):
        if until():
            return
        client = CLIENTS[step % 3]
        hub.act(hub.hear, client)
        hub.act(hub.evaluate, client)
        hub.act(hub.deliver, client)
    raise AssertionError("it does not get on")


def _reached(hub: Hub, round_: int) -> bool:
    return hub.finished() or (hub.state.tip is not None and hub.state.tip.round >= round_)


def line(commits, at: int) -> list[int]:
    """Rounds whose updates are in the model of a commit, by going through the chain by hand."""
    found = []
    while at > 0:
        back = commits[at].rolled_back_to
        found += [] if back is not None else [at]
        at = at - 1 if back is None else back
    return found[::-1]


def made(commits, at: int) -> dict[str, Contribution]:
    """Each site's last update in the model of a commit."""
    found = {}
    for round_ in line(commits, at):
        found |= {p.client: Contribution.of(commits[round_], p) for p in commits[round_].participants}
    return found


backs = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=3)


@RELAXED
@given(backs, st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=3), st.integers(0, 2))
def test_each_goes_back_once_and_the_job_has_as_many_rounds_as_were_asked_for(wanted, crashes, some):
    """`some` of the sites have delivered in the round under way when it is asked for."""
    hub = Hub(job(CLIENTS, rounds=5, strategy=STRATEGY))
    hub.start()
    done = []
    for number, (back, after) in enumerate(wanted):
        reached = (hub.state.tip.round if hub.state.tip else 0) + after
        walked(hub, partial(_reached, hub, reached))
        if hub.state.phase in (Phase.EVALUATING, Phase.FINISHED):
            break
        for client in CLIENTS[:some]:
            hub.hear(client)
            hub.deliver(client)
        asked = RollbackTo(round=max(0, reached - 1 - back), id=str(number))
        countdown, before = crashes.pop() if crashes else (None, True)
        hub.store.arm(countdown, before=before)
        hub.with_config(rollback_to=asked)
        hub.act(hub.hear, "a")
        hub.act(hub.hear, "a")
        hub.store.arm(None, before=True)
        hub.hear("a")
        commits = hub.commits()
        hub.start()
        last = commits[-1]
        assert last.rolled_back_to == asked.round
        assert (last.model, last.hub_state) == (commits[asked.round].model, commits[asked.round].hub_state)
        assert [(r.round, r.id, r.refused) for r in last.rollbacks] == [(asked.round, asked.id, "")]
        committed = {client: hub.state.site(client).committed for client in CLIENTS}
        assert {client: each for client, each in committed.items() if each} == made(commits, last.round)
        done.append(last.round)
    walked(hub, hub.finished)
    commits = hub.commits()
    assert [commit.round for commit in commits] == list(range(len(commits)))
    assert [commit.round for commit in commits if commit.rolled_back_to is not None] == done, "each of them once"
    assert len(line(commits, commits[-1].round)) == 5
    for commit in commits[1:]:
        assert commit.rolled_back_to is not None or len(commit.participants) == 3
    before = {client: hub.state.site(client) for client in CLIENTS}
    state = hub.state
    hub.start()
    assert (hub.state.line, hub.state.decided) == (state.line, state.decided)
    assert {client: hub.state.site(client).committed for client in CLIENTS} == {
        c: s.committed for c, s in before.items()
    }
