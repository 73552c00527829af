"""Where another life of rounds would be put in: another step function over the same effects, and a phase before the fold."""

from dataclasses import replace

from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import closing, modes
from fedcore.rounds.effects import Fold, WriteClose
from fedcore.rounds.events import Accepted
from fedcore.rounds.state import Phase
from tests.property.fedaggregator.simulation import Hub, job

SITES = ("a", "b", "c")


def test_rounds_are_synchronous_unless_a_strategy_says_otherwise():
    assert modes.mode("FedAvg") is modes.SYNCHRONOUS


def test_a_strategy_may_have_a_step_function_of_its_own(monkeypatch):
    """One that folds each update as it comes, over the effects and the interpreter that are there."""

    def step(state, event):
        following, effects = modes.SYNCHRONOUS.step(state, event)
        if isinstance(event, Accepted) and following.phase is Phase.COLLECTING:
            attempt = replace(following.current, closed=(event.manifest.client,))
            following, more = closing.after_closing(following, attempt)
            effects = (*effects, *more)
        return following, effects

    eager = replace(modes.SYNCHRONOUS, step=step)
    monkeypatch.setattr(modes, "OTHERS", {"FedAvg": eager})
    hub = Hub(job(SITES, rounds=3))
    hub.start()
    hub.hear(*SITES)
    for client in ("a", "c", "b"):
        hub.deliver(client)
    assert [[p.client for p in commit.participants] for commit in hub.commits()] == [[], ["a"], ["c"], ["b"]]


def test_a_phase_before_the_fold_is_entered_when_closed_and_after_a_restart(monkeypatch):
    """Its place is one function: here the fold waits until the phase is over."""
    opened = []

    def after_closing(state, attempt):
        opened.append(attempt.closed)
        return replace(state, phase=Phase.COLLECTING, current=replace(attempt, accepted={})), ()

    hub = Hub(job(SITES, rounds=1, quorum=2, grace_after_quorum_s=0.0, strategy=StrategySettings()))
    hub.start()
    hub.hear(*SITES)
    hub.deliver("a")
    with monkeypatch.context() as patched:
        patched.setattr(closing, "after_closing", after_closing)
        hub.deliver("b")
        assert (hub.state.round, opened) == (1, [("a", "b")])
        hub.recover()
        assert opened == [("a", "b"), ("a", "b")]
    hub.recover()
    assert (hub.state.tip.round, [p.client for p in hub.state.tip.participants]) == (1, ["a", "b"])


def test_what_is_closed_is_durable_before_what_follows():
    hub = Hub(job(SITES, rounds=1, quorum=2, grace_after_quorum_s=0.0))
    hub.start()
    hub.hear(*SITES)
    hub.deliver("a")
    attempt = hub.state.current
    accepted = {client: attempt.accepted["a"].model_copy(update={"client": client}) for client in ("a", "b")}
    state = replace(hub.state, current=replace(attempt, accepted=accepted, quorum_at=hub.now))
    _, effects = closing.closed(state, hub.now)
    assert [type(effect) for effect in effects] == [WriteClose, Fold]
