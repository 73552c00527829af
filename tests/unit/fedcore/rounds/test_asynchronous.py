"""Asynchronous rounds, step by step: who gets an order, which answers count, what is carried on, and what a person sees."""

from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.job import RollbackTo
from fedapi.wire.storekey import EntrustedKey
from fedapi.wire.update import UpdateEnvelope
from fedcore.rounds import assignment, entrusting
from fedcore.rounds.effects import Discard, Fold, Forget, WriteClose, WriteFailure
from fedcore.rounds.events import Accepted, FoldFailed, Ticked, UpdatesDamaged
from fedcore.rounds.state import Phase
from tests.property.fedaggregator.buffered import Order, Sites, fedbuff, orders
from tests.property.fedaggregator.simulation import Hub

CLIENTS = ("a", "b", "c", "d")


def begun(**values):
    hub = Hub(fedbuff(**values))
    sites = Sites(hub)
    hub.start()
    hub.hear(*CLIENTS)
    return hub, sites


def buffer(sites, *clients):
    """A round with just these sites."""
    for client in clients:
        assert sites.ask(client) == "Train"
    assert [sites.deliver(client) for client in clients] == ["Accepted"] * len(clients)


def test_a_slow_site_s_update_is_in_the_round_that_is_open_when_it_comes():
    hub, sites = begun()
    sites.ask("d")
    buffer(sites, "a", "b")
    buffer(sites, "b", "c")
    assert assignment.kind(hub.state, "d", (1, 1)) == "Wait"
    assert sites.deliver("d") == "Accepted"
    assert sites.ask("d") == "Wait"  # its update is in no model yet
    buffer(sites, "a")
    assert [orders(commit) for commit in hub.commits()[1:]] == [{"a": 1, "b": 1}, {"b": 2, "c": 2}, {"d": 1, "a": 3}]
    assert hub.state.site("d").committed.round == 1
    assert sites.ask("d") == "Train"


def test_older_than_max_staleness_is_refused_and_dropped():
    hub, sites = begun(max_staleness=1)
    sites.ask("d")
    buffer(sites, "a", "b")
    buffer(sites, "a", "b")
    assert assignment.kind(hub.state, "d", (1, 1)) == "Drop"
    order = sites.orders["d"]
    assert sites.deliver("d") == "StaleRound"
    answer = hub.offer(sites.manifest("d", replace(order, round=3)))
    assert answer == "WrongBase"


def test_the_same_again_is_harmless_and_counts_once():
    hub, sites = begun()
    sites.ask("a")
    order = sites.orders["a"]
    assert [hub.offer(sites.manifest("a", order)) for _ in range(2)] == ["Accepted", "Duplicate receipt"]
    buffer(sites, "b")
    assert hub.offer(sites.manifest("a", order)) == "StaleRound"
    assert [sorted(orders(commit)) for commit in hub.commits()[1:]] == [["a", "b"]]


def test_another_update_of_a_site_whose_last_is_in_no_model_is_refused():
    hub, sites = begun()
    buffer(sites, "a", "b")
    buffer(sites, "c")
    assert hub.offer(sites.manifest("c", Order(1, 1, hub.state.history[0].model))) == "Duplicate"


def test_a_failed_attempt_hands_its_updates_on_over_a_restart():
    hub, sites = begun(buffer_size=3)
    buffer(sites, "a", "b")
    hub.now += 101.0
    hub.hear(*CLIENTS)
    assert (hub.state.attempt, set(hub.state.accepted)) == (2, {"a", "b"})
    hub.recover()
    assert (hub.state.attempt, set(hub.state.accepted)) == (2, {"a", "b"})
    hub.hear(*CLIENTS)
    buffer(sites, "c")
    assert [p.client for p in hub.state.tip.participants] == ["a", "b", "c"]


def test_quorum_at_the_deadline_closes_a_buffer_that_is_not_full():
    hub, sites = begun(buffer_size=3, quorum="60%")
    buffer(sites, "a", "b")
    hub.now += 101.0
    hub.handle(Ticked(hub.now))
    assert [p.client for p in hub.state.tip.participants] == ["a", "b"]


def folding(hub, sites):
    """The state and effects of a buffer that is being folded."""
    for client in "abd":
        sites.ask(client)
    sites.deliver("a")
    order = sites.orders["b"]
    manifest = sites.manifest("b", order)
    before = hub.state
    hub.interpreter.write_manifest(UpdateEnvelope(body=manifest))
    return hub.mode.step(before, Accepted(hub.now, manifest))


def test_a_buffer_is_recorded_before_its_fold_and_what_comes_meanwhile_is_in_the_next():
    hub, sites = begun()
    state, effects = folding(hub, sites)
    assert [type(effect) for effect in effects] == [WriteClose, Fold]
    assert [(b.client, b.round, b.attempt) for b in effects[0].close.buffer] == [("a", 1, 1), ("b", 1, 1)]
    assert state.phase is Phase.FOLDING
    hub.interpreter.perform(effects[0])
    hub.state = state
    assert sites.deliver("d") == "Accepted"
    told = status(hub.state)
    assert (told["participants"], told["round"]["accepted"]) == ("2/2", 2)
    assert {c["name"]: c["state"] for c in told["clients"]} == {
        "a": "Accepted",
        "b": "Accepted",
        "c": "Training",
        "d": "Accepted",
    }
    hub.recover()
    assert orders(hub.state.tip) == {"a": 1, "b": 1}
    assert set(hub.state.accepted) == {"d"}
    assert status(hub.state)["participants"] == "1/2"


def test_a_buffer_of_which_no_model_comes_is_dropped_and_nothing_else():
    hub, sites = begun()
    state, _ = folding(hub, sites)
    hub.state = state
    sites.deliver("d")
    after, effects = hub.mode.step(hub.state, FoldFailed(hub.now, 1, 1, "ModelNotFinite", "NaN"))
    failure, forget = effects[0], effects[1]
    assert isinstance(failure, WriteFailure)
    assert [d.client for d in failure.failure.dropped] == ["a", "b"]
    assert isinstance(forget, Forget)
    assert [key.rpartition("/")[2] for key in forget.keys] == [f"client_{c}_round_1-a1.manifest.json" for c in "ab"]
    assert (set(after.accepted), after.attempt) == ({"d"}, 2)
    hub.interpreter.perform(failure)  # and the process dies
    hub.recover()
    assert set(hub.state.accepted) == {"d"}
    hub.hear(*CLIENTS)
    assert hub.offer(sites.manifest("a", Order(1, 1, hub.state.tip.model.sha256))) == "StaleAttempt"
    assert sites.ask("a") == "Train"


@pytest.mark.parametrize("max_failures", [0, 2])
def test_the_site_of_a_damaged_update_is_asked_again(max_failures):
    hub, sites = begun(max_failures=max_failures)
    state, _ = folding(hub, sites)
    key = next(ref.key for ref in state.accepted["a"].objects)
    after, _ = hub.mode.step(state, UpdatesDamaged(hub.now, 1, 1, {key: "gone"}))
    assert "a" not in after.accepted
    assert "b" in after.accepted
    if max_failures:
        assert assignment.kind(after, "a", None) == "Train"


def test_a_rollback_makes_work_since_void():
    hub, sites = begun()
    buffer(sites, "a", "b")
    sites.ask("d")
    buffer(sites, "c")
    hub.with_config(rollback_to=RollbackTo(round=0))
    hub.handle(Ticked(hub.now))
    assert hub.state.tip.rolled_back_to == 0
    assert dict(hub.state.accepted) == {}
    assert sites.ask("d") == "Drop"
    hub.recover()
    assert dict(hub.state.accepted) == {}


def test_what_is_under_way_is_no_leftover():
    hub, sites = begun()
    sites.ask("d")
    manifest = sites.manifest("d")  # uploaded, and not handed in yet
    buffer(sites, "a", "b")
    buffer(sites, "a", "b")
    kept = list(hub.store.keys("updates/"))
    assert kept == [ref.key for ref in manifest.objects]
    assert hub.offer(manifest) == "Accepted"
    said = EntrustedKey("d", 1, 1, "0" * 64, "1" * 64)
    assert entrusting.needed(hub.state, "d", said)


def test_a_discard_of_synchronous_rounds_spares_nothing():
    assert Discard(3, frozenset()).unsettled is None


def test_the_last_round_ends_the_job_whatever_is_in_the_buffer():
    hub, sites = begun(rounds=1)
    sites.ask("d")
    buffer(sites, "a", "b")
    assert hub.state.phase is Phase.EVALUATING
    assert sites.ask("d") == "Drop"
