"""What is kept of a job's rounds, and the one reader of it: over real rounds in a store, with a strategy that remembers."""

import gc

import numpy as np
import pytest
from safetensors.numpy import load

from fedaggregator.engine import records
from fedaggregator.engine.salvage import repaired
from fedaggregator.errors import StoreDamagedError
from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.job import StopRule
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import EvaluationReport
from fedapi.wire.store import Head as HeadRecord
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload, UpdateEnvelope, UpdateManifest
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Strategy
from fedcore.strategies.table import STRATEGIES
from fedstore import history
from fedstore.errors import HistoryDamagedError, MissingError
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import UID, CrashingStore, Hub, job

SITES = ("a", "b")
REMEMBERS = StrategySettings(name="Remembers", parameters={"rate": 0.5})


def remembering(base, update, memory, parameters):
    memory = memory + update[:, None]
    return base + memory[:, 0] * np.float32(parameters["rate"]), memory


@pytest.fixture(autouse=True)
def strategy(monkeypatch):
    made = Strategy("Remembers", fedavg.weights, frozenset({"rate"}), optimize=remembering, memory=1)
    monkeypatch.setitem(STRATEGIES, made.name, made)


def run(hub: Hub, *, evaluate: bool = True) -> None:
    hub.act(hub.start)
    hub.act(hub.hear, *SITES)
    while not hub.finished():
        for client in SITES:
            if evaluate:
                hub.act(hub.evaluate, client)
        for client in SITES:
            hub.act(hub.deliver, client)
        if hub.state.closing:
            hub.now += 1000
            for client in SITES:
                hub.act(hub.hear, client)


def finished(**values) -> Hub:
    hub = Hub(job(SITES, rounds=6, strategy=REMEMBERS, **values))
    run(hub)
    return hub


def kept(hub: Hub) -> list[int]:
    return [each.record.round for each in history.committed(hub.store, hub.state.layout) if each.kept]


def states(hub: Hub) -> list[int]:
    """Rounds whose hub state is there."""
    keys = set(hub.store.keys(hub.state.layout.hub_states()))
    found = [c.round for c in hub.commits() if c.hub_state and c.hub_state.key in keys]
    assert len(found) == len(keys), "nothing else is there"
    return found


def test_all_rounds_are_kept_by_default():
    hub = finished()
    assert kept(hub) == [0, 1, 2, 3, 4, 5, 6]
    assert states(hub) == [1, 2, 3, 4, 5, 6]
    for each in history.committed(hub.store, hub.state.layout):
        assert hub.store.get(each.record.model.key)
    assert not list(hub.store.keys(f"{hub.state.layout.all_updates()}/client_a_round_1-"))


@pytest.mark.parametrize(("keep", "rounds"), [(1, [5, 6]), (2, [5, 6]), (4, [3, 4, 5, 6]), (99, [0, 1, 2, 3, 4, 5, 6])])
def test_the_last_rounds_are_kept(keep, rounds):
    hub = finished(history_keep=keep, stop=StopRule(metric="accuracy", target=9.0))
    assert kept(hub) == rounds  # accuracy grows: the best is the last
    assert states(hub) == [round_ for round_ in rounds if round_]


def test_the_best_round_is_kept_with_its_state():
    hub = finished(history_keep=2, stop=StopRule(metric="accuracy", goal="Minimize", target=-1.0))
    assert kept(hub) == [0, 5, 6]
    worst = Hub(job(SITES, rounds=3, strategy=REMEMBERS, history_keep=2))
    run(worst, evaluate=False)
    assert kept(worst) == [2, 3]


def test_memory_survives_a_kill_before_and_after_every_write():
    straight = finished()
    writes = straight.store.writes
    expected = [(c.model, c.hub_state) for c in straight.commits()]
    assert len({c.hub_state.sha256 for c in straight.commits() if c.hub_state}) == 6
    for write in range(0, writes, 5):
        for before in (True, False):
            hub = Hub(job(SITES, rounds=6, strategy=REMEMBERS), CrashingStore())
            hub.store.arm(write, before=before)
            run(hub)
            assert hub.restarts == 1
            assert [(c.model, c.hub_state) for c in hub.commits()] == expected, (write, before)


def test_damaged_memory_ends_the_process_and_repair_goes_back():
    hub = Hub(job(SITES, rounds=6, strategy=REMEMBERS))
    hub.start()
    hub.hear(*SITES)
    while hub.state.round < 4:
        for client in SITES:
            hub.deliver(client)
    state = hub.state.tip.hub_state
    data = bytearray(hub.store.get(state.key))
    data[-1] ^= 1
    hub.store._objects[state.key] = bytes(data)
    hub.deliver("a")
    with pytest.raises(StoreDamagedError, match=state.key):
        hub.deliver("b")
    said = list(repaired(hub.store, hub.state.layout))
    assert state.key in said[0]
    assert "HEAD was set to round 2" in said[1]
    run(hub)
    assert [c.model for c in hub.commits()] == [c.model for c in finished().commits()]


def test_a_restart_knows_what_sites_did_and_holds_one_list_of_participants():
    hub = Hub(job(SITES, rounds=4))
    run(hub)
    head, _ = records.take_head(hub.store, hub.state.layout)
    log = records.load_log(hub.store, hub.state.layout, head)
    assert [len(commit.participants) for commit in log.commits] == [0, 0, 0, 0, 2]
    assert not any(record.clients for record in log.evaluations[:-1])
    before = hub.state.sites
    participants = {p.client: p.payloads["update"] for p in hub.commits()[-1].participants}
    hub.recover()
    for client in SITES:
        site = hub.state.site(client)
        assert (site.rounds, site.last_round, site.committed) == (4, 4, before[client].committed)
        assert (site.committed.round, site.committed.attempt) == (4, 1)
        assert site.committed.sha256 == participants[client]
        assert site.samples == before[client].samples


def test_what_was_sent_for_a_model_that_is_no_more_makes_room():
    """A repair goes back to an older round; what sites sent for later ones lies in the store until those are made again."""
    hub = Hub(job(SITES))
    hub.start()
    hub.hear(*SITES)
    state, other = hub.state, "0" * 64
    key, size = state.layout.update("a", 1, other), 1
    update = UpdateManifest(
        job_uid=UID, round=1, attempt=1, client="a", base_sha256=other, samples=1, training_s=1.0, nonce="x" * 16,
        payloads={"update": Payload(object=ObjectRef(key=key, sha256=other, size=size))},
    )  # fmt: skip
    report = EvaluationReport(job_uid=UID, round=0, client="a", model_sha256=other, samples=1, metrics={"accuracy": 1})
    hub.interpreter.write_manifest(UpdateEnvelope(body=update))
    hub.interpreter.write_report(report)
    hub.recover()
    assert not hub.state.reports
    assert not hub.state.current.accepted
    hub.evaluate("a")
    assert hub.deliver("a") == "Accepted"
    hub.recover()
    assert hub.state.reports["a"].model_sha256 == state.tip.model.sha256
    assert hub.state.current.accepted["a"].base_sha256 == state.tip.model.sha256


def test_the_model_is_stepped_by_what_is_remembered():

    hub = finished()
    first, second = hub.commits()[1:3]
    values = [load(hub.store.get(c.hub_state.key))["w"].reshape(4, 5) for c in (first, second)]
    models = [load(hub.store.get(c.model.key))["w"] for c in (first, second)]
    assert np.allclose(models[1] - models[0], values[1] * 0.5, atol=1e-5)


def test_the_reader_names_what_is_lost():
    hub = finished(history_keep=2)
    store, layout = hub.store, hub.state.layout
    rounds = history.committed(store, layout)
    assert history.of_round(rounds, None).round == 6
    assert history.of_round(rounds, 5).round == 5
    with pytest.raises(MissingError, match=r"choose one of 0 to 6"):
        history.of_round(rounds, 7)
    with pytest.raises(MissingError, match=r"storage.history.keep\): kept are 5, 6"):
        history.of_round(rounds, 1)
    key = next(key for key in store.keys(f"{layout.round(3)}/") if key.endswith("commit.json"))
    store._objects[key] = store.get(key).replace(b'"round":3', b'"round":4')
    with pytest.raises(HistoryDamagedError, match="commit of round 3"):
        history.committed(store, layout)
    del store._objects[layout.head]
    with pytest.raises(HistoryDamagedError, match="this is no new job"):
        history.committed(store, layout)


def test_nothing_is_committed_in_a_new_store():
    hub = Hub(job(SITES))
    layout = finished().state.layout
    assert history.committed(hub.store, layout) == []
    with pytest.raises(MissingError, match="no model is committed yet"):
        history.of_round([], None)


def test_the_reader_holds_one_round_with_its_sites_at_a_time():
    """With a thousand sites a commit is 1.4 MiB, and there may be ten thousand."""

    class Store(MemoryStore):
        """Counts the commits with their sites that somebody still has when the next is read."""

        def get(self, key):
            gc.collect()
            alive.append(sum(type(each) is Participant for each in gc.get_objects()))
            return super().get(key)

    alive, store, layout, previous = [], Store(), Layout("ns", "job", "uid"), None
    for round_ in range(6):
        model = store.put_once(layout.model(round_, f"{round_:064x}"), b"m")
        sites = tuple(Participant(client=f"s{n}", samples=1, payloads={}, training_s=n / 2) for n in range(50))
        at = {"planned_at": 1.0, "committed_at": 2.0, "epoch": 1, "attempt": 1, "job_uid": "uid"}
        commit = CommitRecord(round=round_, model=model, participants=sites, previous_sha256=previous, **at).sealed()
        key = f"{layout.attempt(round_, 1, 1)}/commit.json"
        store.put_once(key, commit.canonical())
        previous = commit.digest()
    del sites, commit
    head = HeadRecord(epoch=1, round=5, commit_key=key, commit_sha256=previous)
    store.replace_head(layout.head, head.sealed().canonical(), None)
    before = sum(type(each) is Participant for each in gc.get_objects())
    rounds = history.committed(store, layout)
    assert max(alive) - before <= 50, "the one that was read last"
    assert [each.record.round for each in rounds] == list(range(6))
    assert {(each.sites, each.slowest_training_s, each.record.participants, each.kept) for each in rounds} == {(50, 24.5, (), True)}  # fmt: skip
