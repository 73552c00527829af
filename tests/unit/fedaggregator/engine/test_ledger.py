"""A ledger grows by batches of any size, is taken up again where it ended, and is written by one process alone."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from fedaggregator.engine import beginning, recorded
from fedaggregator.engine.ledger import Ledger
from fedaggregator.errors import StoreDamagedError
from fedapi.wire.anomalies import Undoing
from fedapi.wire.attestation import Attestation
from fedapi.wire.commit import Rollback
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import Anchor
from fedapi.wire.privacy import Charge
from fedapi.wire.store import Head
from fedcore.ledger import tiles
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit
from fedstore.errors import HeadMovedError, StoreFailedError
from fedstore.ledgers import LedgerBrokenError
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds import test_anomalous_updates as anomalous

LAYOUT = Layout("lab", "job", "0b5c1f9e-0000-4000-8000-000000000001")
SEED = bytes(32)


def ledger(store, layout=LAYOUT, **values):
    made = Ledger(store, layout, values.pop("seed", SEED), lambda: 1.0)
    made.load(values.pop("bound", None), values.pop("inherits", False))
    made.begin()
    return made


def grown(store, *batches):
    made = ledger(store)
    for batch in batches:
        for number in range(batch):
            made.append("refused", client="a", code=str(number), message="")
        made.write()
    return made


def verified(store, layout=LAYOUT):
    return ledgeraudit.verified(store, layout, Signer(layout.ledger_origin, SEED).verifier)


@pytest.mark.parametrize("batches", [(1,), (255, 1), (256, 1), (300, 300, 1), (1, 1, 1, 700), (600,), (300, 1, 1, 1)])
def test_every_batch_leaves_a_whole_ledger_and_the_next_process_goes_on_from_it(batches):
    store = MemoryStore()
    grown(store, *batches)
    assert len(verified(store).entries) == sum(batches)
    grown(store, 5, 3)
    assert len(verified(store).entries) == sum(batches) + 8


def test_tiles_that_wider_ones_replaced_go_and_those_of_the_checkpoint_before_stay():
    store = MemoryStore()
    grown(store, 3, 4, 5, 6)
    kept = {key.rpartition("/")[2] for key in store.keys(LAYOUT.ledger("tile/"))}
    assert kept == {"12", "18"}
    ledger(store).tidy()
    assert {key.rpartition("/")[2] for key in store.keys(LAYOUT.ledger("tile/"))} == {"18"}


def test_the_anchor_has_what_is_in_memory_and_the_status_has_not():
    store = MemoryStore()
    made = grown(store, 2)
    made.append("alert", reason="Damaged")
    assert (made.anchor.size, made.status().size) == (3, 2)
    made.write()
    assert made.status().root == made.anchor.root


def test_who_was_overtaken_appends_no_more():
    store = MemoryStore()
    old, new = grown(store, 3), grown(store, 2)
    old.append("alert", reason="Damaged")
    with pytest.raises(HeadMovedError):
        old.write()
    new.append("alert", reason="Damaged")
    new.write()
    assert len(verified(store).entries) == 6


def test_what_no_checkpoint_reaches_makes_room_at_the_start_and_then_alone():
    store = MemoryStore()
    old = grown(store, 3)
    left = [LAYOUT.ledger("tile/entries/000.p/4"), LAYOUT.ledger("tile/0/000.p/4")]
    for key in left:
        store.put_once(key, b"of a process that died")
    old.append("alert", reason="Damaged")
    old.write()
    assert [each.facts["reason"] for each in verified(store).entries[3:]] == ["Damaged", "FilesInTheWay"]
    assert all(store.get(key) == b"of a process that died" for key in left)
    new = ledger(store)
    new.take(2)
    new.tidy()
    assert not set(left) & set(store.keys(LAYOUT.ledger("tile/")))
    new.append("alert", reason="Damaged")
    new.write()
    assert len(verified(store).entries) == 6


def test_a_full_bundle_that_no_checkpoint_reaches_ends_a_process_until_the_next_start_makes_room():
    store = MemoryStore()
    old = grown(store, 255)
    store.put_once(LAYOUT.ledger("tile/entries/000"), b"of a process that died")
    old.append("alert", reason="Damaged")
    with pytest.raises(HeadMovedError, match="another process writes the ledger"):
        old.write()


def test_what_an_overtaken_process_leaves_does_not_end_the_one_that_overtook_it():
    """It puts as many entries as the newer one is about to, and only then finds that the checkpoint is not its own any more."""
    store = MemoryStore()
    old = grown(store, 3)
    new = ledger(store)
    new.take(2)
    new.tidy()
    for each in (old, new):
        each.append("started", epoch=1 if each is old else 2)
    with pytest.raises(HeadMovedError):
        old.write()
    asyncio.run(new.written(asyncio.to_thread))
    new.append("alert", reason="Damaged")
    new.write()
    told = verified(store).entries[3:]
    assert [each.facts.get("reason", each.facts.get("epoch")) for each in told] == [2, "FilesInTheWay", "Damaged"]


@pytest.mark.parametrize("before", [0, 3])
def test_who_takes_the_ledger_leaves_nobody_else_a_moment_to_write_in(before):
    """The other one has its tiles there, and not yet its checkpoint, when those are deleted."""
    store = Failing()
    store.fail.clear()
    old = grown(store, *([before] if before else []))
    old.append("alert", reason="Damaged")
    store.fail.add("put_together")
    with pytest.raises(StoreFailedError):
        old.write()
    new = ledger(store)
    new.take(2)
    new.tidy()
    with pytest.raises(HeadMovedError):
        old.write()
    again = ledger(store)
    again.take(3)
    again.tidy()
    again.append("alert", reason="Damaged")
    again.write()
    assert len(verified(store).entries) == before + 1


class Failing(MemoryStore):
    """Fails once after each kind of write, when it is done."""

    def __init__(self):
        super().__init__()
        self.fail = {"put_together", "replace_head"}

    def _failed(self, what):
        if what in self.fail:
            self.fail.remove(what)
            raise StoreFailedError(what)

    def put_together(self, objects):
        super().put_together(objects)
        self._failed("put_together")

    def replace_head(self, key, data, expected):
        head = super().replace_head(key, data, expected)
        self._failed("replace_head")
        return head


def test_a_write_that_failed_is_done_again():
    store = Failing()
    made = ledger(store)
    made.append("alert", reason="Damaged")
    for _ in range(2):
        with pytest.raises(StoreFailedError):
            made.write()
    made.write()
    assert len(verified(store).entries) == 1


def test_a_flood_of_refusals_is_counted():
    store = MemoryStore()
    made = ledger(store)
    for _ in range(100):
        made.caused("refused", "a", code="Malformed", message="x")
    made.caused("refused", "b", code="Malformed", message="x")
    made.counted()
    made.write()
    told = [each.facts for each in verified(store).entries]
    assert len(told) == 34
    assert told[-1] == {"client": "a", "omitted": 68}


def test_a_shorter_or_another_ledger_is_not_gone_on_from():
    store = MemoryStore()
    made = grown(store, 3)
    with pytest.raises(StoreDamagedError, match="the last commit is bound to 4 entries"):
        ledger(store, bound=Anchor(size=4, root="0" * 64))
    with pytest.raises(StoreDamagedError, match="has another, or is shorter"):
        ledger(store, bound=Anchor(size=3, root="0" * 64))
    with pytest.raises(StoreDamagedError, match="the last commit is bound to 3 entries"):
        ledger(MemoryStore(), bound=made.anchor)
    assert ledger(store, bound=made.anchor).anchor == made.anchor


@pytest.mark.parametrize("path", ["tile/entries/000.p/3", "tile/0/000.p/3"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"\0", lambda _: b""])
def test_a_damaged_edge_is_not_gone_on_from(path, change):
    store = MemoryStore()
    grown(store, 3)
    key = LAYOUT.ledger(path)
    data = store.get(key)
    store.delete(key)
    store.put_once(key, change(data))
    with pytest.raises(StoreDamagedError, match="ledger verify"):
        ledger(store)


def test_a_checkpoint_by_another_key_is_not_gone_on_from():
    store = MemoryStore()
    grown(store, 3)
    with pytest.raises(StoreDamagedError, match="no good signature"):
        ledger(store, seed=bytes(range(32)))


def test_a_restored_job_goes_on_with_the_tree_under_a_key_of_its_own():
    store, other = MemoryStore(), Layout("lab", "again", "0b5c1f9e-0000-4000-8000-000000000002")
    before = grown(store, 3).anchor
    for key in [*store.keys(LAYOUT.ledger("tile/"))]:
        store.put_once(other.at(LAYOUT.inside(key)), store.get(key))
    store.replace_head(other.ledger(tiles.CHECKPOINT), store.head(LAYOUT.ledger(tiles.CHECKPOINT)).data, None)
    with pytest.raises(StoreDamagedError, match="and the key is that of"):
        ledger(store, other)
    made = ledger(store, other, inherits=True, bound=before)
    made.append("restored", origin="x", round=0, lineage=[LAYOUT.uid])
    made.write()
    assert len(verified(store, other).entries) == 4


def test_a_ledger_that_is_not_there_is_told():
    with pytest.raises(LedgerBrokenError, match="there is no ledger"):
        verified(MemoryStore())


@pytest.mark.parametrize("has_committed", [True, False])
def test_a_job_that_has_committed_takes_no_checkpoint_of_another_any_more(has_committed):
    store, (state, _) = MemoryStore(), anomalous.folding()
    uid, layout = "0b5c1f9e-0000-4000-8000-000000000009", state.layout
    other = Layout("lab", "before", uid)
    store.replace_head(layout.ledger(tiles.CHECKPOINT), Signer(other.ledger_origin, SEED).signed(0, bytes(32)), None)
    tip = state.tip.model_copy(update={} if has_committed else {"job_uid": uid})
    asked = (Ledger(store, layout, SEED, lambda: 1.0), replace(state, tip=tip), Head(epoch=2, round=0, lineage=(uid,)))
    with pytest.raises(StoreDamagedError, match="and the key is that of" if has_committed else "have the root"):
        beginning.begun(*asked, "0" * 64, None)


def test_so_many_undone_rounds_that_no_entry_holds_them_are_counted():
    store, (state, _) = MemoryStore(), anomalous.folding()
    _, effects = anomalous.folded(state, anomalous.judged("Warn"))
    undoing = Undoing(cause="MetricCollapsed", round=60000, client="d", to=0, rounds=tuple(range(1, 60001)))
    made = ledger(store)
    commit = anomalous.commit_of(effects).model_copy(update={"undoings": (undoing,)})
    recorded.committed(made, commit, commit.sealed().digest())
    made.write()
    told, _ = verified(store).entries
    assert (told.facts["undone"], len(told.facts["rounds"])) == (60000, 1000)


@pytest.mark.parametrize("refused", ["", "no update stands out"])
def test_what_an_anomaly_undoes_is_told_before_its_commit_and_what_it_cannot_is_an_alert(refused):
    store, (state, _) = MemoryStore(), anomalous.folding()
    _, effects = anomalous.folded(state, anomalous.judged("Warn"))
    values = {"rounds": (1, 2), "refused": refused} if not refused else {"refused": refused}
    undoing = Undoing(cause="AnomalousUpdate", round=2, client="d", to=0, **values)
    made = ledger(store)
    commit = anomalous.commit_of(effects).model_copy(update={"undoings": (undoing,), "anomalies": ()})
    recorded.committed(made, commit, commit.sealed().digest())
    made.write()
    told, committed = verified(store).entries
    assert committed.kind == "committed"
    known = {"cause": "AnomalousUpdate", "client": "d", "anomaly": 2, "round": 1}
    if refused:
        assert (told.kind, told.facts) == ("alert", known | {"reason": "NotUndone", "message": refused})
    else:
        assert (told.kind, told.facts) == ("undone", known | {"to": 0, "undone": 2, "rounds": ["1", "2"]})


@pytest.mark.parametrize(("action", "told"), [("Exclude", ["d"]), ("Warn", [])])
def test_an_accepted_update_that_a_round_left_out_is_told_before_its_commit(action, told):
    store, (state, _) = MemoryStore(), anomalous.folding()
    _, effects = anomalous.folded(state, anomalous.judged(action, "d"))
    made = ledger(store)
    commit = anomalous.commit_of(effects)
    recorded.committed(made, commit, commit.sealed().digest())
    made.write()
    anomaly, *refused, committed = verified(store).entries
    assert (anomaly.kind, anomaly.facts["client"], anomaly.facts["action"]) == ("anomalous", "d", action)
    assert (committed.kind, [each.facts["client"] for each in refused]) == ("committed", told)
    assert all(
        (each.facts["code"], each.facts["round"], each.facts["attempt"]) == ("Anomalous", 1, 1) for each in refused
    )


def test_what_a_round_has_spent_and_gone_back_to_is_told_with_its_commit():
    store, (state, _) = MemoryStore(), anomalous.folding()
    _, effects = anomalous.folded(state, anomalous.judged("Warn"))
    charge = Charge(mode="Central", clip_norm=1.5, noise_multiplier=2.0, epsilon=0.1 + 0.2, delta=1e-5)
    back = (Rollback(round=0, id="one", refused="it is gone"), Rollback(round=1, id="two"))
    commit = anomalous.commit_of(effects).model_copy(update={"privacy": charge, "rollbacks": back})
    made = ledger(store)
    recorded.committed(made, commit, commit.sealed().digest())
    made.write()
    _, charged, refused, done = verified(store).entries
    assert (charged.kind, charged.facts["round"]) == ("charged", 1)
    assert charged.facts["charge"] == {
        "mode": "Central",
        "unit": "Site",
        "adjacency": "ZeroOut",
        "clip_norm": "1.5",
        "noise_multiplier": "2.0",
        "epsilon": "0.30000000000000004",
        "delta": "1e-5",
    }
    assert refused.facts == {"round": 1, "id": "one", "to": 0, "refused": "it is gone"}
    assert (done.kind, done.facts) == ("rollback", {"round": 1, "id": "two", "to": 1})


def test_what_is_another_in_a_configuration_is_named():
    store, (state, _) = MemoryStore(), anomalous.folding()
    made = ledger(store)
    recorded.configured(made, state.config, state.config.model_copy(update={"quorum": 2, "rounds": 9}), "0" * 64)
    made.write()
    assert verified(store).entries[0].facts == {"config_sha256": "0" * 64, "changed": ["rounds", "quorum"]}


def test_evidence_is_told_by_its_digest_and_who_asks_for_too_much_is_counted():
    store = MemoryStore()
    made = ledger(store)
    evidence = Attestation(tee="TDX", evidence=b"quote", update_keys={"X25519": "1" * 64})
    for number in range(40):
        recorded.shown(made, "a", f"{number:064x}", evidence)
    made.counted()
    made.write()
    *told, rest = verified(store).entries
    assert (len(told), rest.facts) == (32, {"client": "a", "omitted": 8})
    assert told[1].facts == {
        "client": "a",
        "tee": "TDX",
        "evidence_sha256": hashlib.sha256(b"quote").hexdigest(),
        "update_keys": {"X25519": "1" * 64},
        "nonce": f"{1:064x}",
    }


def head_of(commit, **values):
    return Head(epoch=2, round=commit.round, commit_key="k", commit_sha256=commit.digest(), **values)


def test_a_commit_that_is_neither_told_nor_signed_is_nobodys_who_has_the_jobs_key():
    store, (state, _) = MemoryStore(), anomalous.folding()
    _, effects = anomalous.folded(state, anomalous.judged("Warn"))
    before, commit = state.tip, anomalous.commit_of(effects)
    made = ledger(store)
    recorded.committed(made, before, before.digest())
    made.write()
    newest = made.since(None)
    made.check_head(head_of(before), newest)  # told
    made.check_head(head_of(commit, commit_signature=made.signature(commit)), newest)
    forged = ledger(MemoryStore(), seed=bytes(range(32))).signature(commit)
    for signature in (None, forged, made.signature(before)):
        with pytest.raises(StoreDamagedError, match="does not tell of this commit of round 1, and it is not signed"):
            made.check_head(head_of(commit, commit_signature=signature), newest)


def test_where_no_ledger_was_kept_no_commit_is_signed():
    (state, _), made = anomalous.folding(), ledger(MemoryStore())
    made.check_head(head_of(state.tip), [])
