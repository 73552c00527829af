"""The chain is over the bytes that are stored: records of a newer version, with fields unknown here, are gone on with."""

import hashlib
import json

import pytest
import rfc8785

from fedaggregator.engine import salvage
from fedaggregator.errors import TooOldError
from fedapi.wire.commit import CommitRecord
from fedapi.wire.message import Record
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from tests.property.fedaggregator.simulation import UID, CrashingStore, Hub, job

CLIENTS = ("a", "b")


def rounds(hub: Hub, count: int) -> None:
    for _ in range(count):
        for act in (hub.evaluate, hub.deliver):
            for client in CLIENTS:
                act(client)


def begun(store: CrashingStore | None = None) -> Hub:
    hub = Hub(job(CLIENTS), store)
    hub.start()
    hub.hear(*CLIENTS)
    return hub


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def changed(table: dict, changes: dict) -> dict:
    """With these changes, deep inside too."""
    return table | {
        name: changed(table[name], value) if isinstance(value, dict) and isinstance(table.get(name), dict) else value
        for name, value in changes.items()
    }


def rewritten(data: bytes, **changes) -> bytes:
    """The record as a newer version would have written it: more fields, at its top and deeper."""
    table = changed(json.loads(data), {"newer": {"than": ["this", 1]}} | changes)
    for part in (table.get("model"), *table.get("participants", ())):
        if part:
            part["also"] = "new"
    table.pop("checksum", None)
    table["checksum"] = sha256(rfc8785.dumps(table))
    return rfc8785.dumps(table)


def by_newer(store: CrashingStore, hub: Hub, *, commit: dict | None = None, evaluation: dict | None = None) -> None:
    """All records of commits and evaluations, and HEAD, rewritten, each bound to the one before; with changes in each."""
    previous: dict[str, str] = {}
    last = b""
    keys = sorted(key for key in store.keys("control/") if key.endswith(("/commit.json", "/evaluation.json")))
    for key in sorted(keys, key=lambda key: (key.rpartition("/")[0], key.endswith("/commit.json"))):
        old = store._objects[key]
        table = json.loads(old)
        bound = {name: previous[table[name]] for name in ("previous_sha256", "evaluation_sha256") if table.get(name)}
        more = commit if key.endswith("/commit.json") else evaluation
        store._objects[key] = rewritten(old, **bound, **(more or {}))
        previous[sha256(old)] = sha256(store._objects[key])
        last = store._objects[key] if key.endswith("/commit.json") else last
    key = hub.state.layout.head
    found = store.head(key)
    store.replace_head(key, rewritten(found.data, commit_sha256=sha256(last)), found.tag)


def chained(store: CrashingStore, head_key: str) -> list[dict]:
    """The commits that HEAD reaches, newest first, by the digests of their bytes and nothing of ours."""
    stored = {sha256(data): json.loads(data) for key, data in store._objects.items() if key.endswith("/commit.json")}
    digest, found = json.loads(store.head(head_key).data)["commit_sha256"], []
    while digest is not None:
        found.append(stored[digest])
        digest = found[-1].get("previous_sha256")
    return found


def test_records_with_unknown_fields_do_not_orphan_history():
    undisturbed = begun()
    rounds(undisturbed, 3)
    hub = begun()
    rounds(hub, 2)
    by_newer(hub.store, hub)
    again = begun(hub.store)
    assert (again.named, again.state.tip.round) == ([], 2)
    assert len(again.state.scores) == 2, "the evaluations are bound by the digests of their bytes, too"
    rounds(again, 1)
    commits = chained(again.store, again.state.layout.head)
    assert [commit["round"] for commit in commits] == [3, 2, 1, 0]
    assert ["newer" in commit for commit in commits] == [False, True, True, True]
    assert [c.model.sha256 for c in again.commits()] == [c.model.sha256 for c in undisturbed.commits()]


def test_a_repaired_store_goes_on_from_records_with_unknown_fields():
    hub = begun()
    rounds(hub, 2)
    by_newer(hub.store, hub)
    hub.store._objects[hub.state.tip.model.key] = b"rotten"
    said = " ".join(salvage.repaired(hub.store, hub.state.layout))
    assert "HEAD was set to round 1" in said
    assert [commit["round"] for commit in chained(hub.store, hub.state.layout.head)] == [1, 0]
    again = begun(hub.store)
    assert (again.named, again.state.tip.round) == ([], 1)


def test_a_new_field_with_a_default_changes_no_old_digest():
    class NewerCommit(CommitRecord):
        carbon_g: float = 0.0

    hub = begun()
    rounds(hub, 1)
    key = next(key for key in hub.store.keys("control/") if key.endswith("000001/e1-a1/commit.json"))
    data = hub.store.get(key)
    assert NewerCommit.stored(data).carbon_g == 0.0, "and its checksum holds"
    assert (
        hub.state.tip_sha256 == sha256(data) == json.loads(hub.store.head(hub.state.layout.head).data)["commit_sha256"]
    )
    assert NewerCommit.stored(data).sealed().digest() != sha256(data), (
        "which is why no digest is made of a parsed record"
    )


def test_what_is_kept_reads_as_it_was_written():
    hub = begun()
    rounds(hub, 1)
    kinds: dict[str, type[Record]] = {
        "commit.json": CommitRecord,
        "evaluation.json": EvaluationRecord,
        "HEAD.json": Head,
    }
    kept = [(key.rpartition("/")[2], data) for key, data in hub.store._objects.items()]
    assert kinds.keys() <= {name for name, _ in kept}
    for name, data in kept:
        if kind := kinds.get(name):
            assert kind.stored(rewritten(data)).model_dump(exclude={"checksum"}) == kind.stored(data).model_dump(
                exclude={"checksum"}
            )


def rewrite(ending: str, **changes):
    """Rewrites the newest record whose key ends so."""

    def act(hub: Hub) -> None:
        head = hub.state.layout.head
        if head.endswith(ending):
            found = hub.store.head(head)
            hub.store.replace_head(head, rewritten(found.data, **changes), found.tag)
        else:
            key = max(key for key in hub.store._objects if key.endswith(ending))
            hub.store._objects[key] = rewritten(hub.store._objects[key], **changes)

    return act


@pytest.mark.parametrize(
    "act",
    [
        rewrite("HEAD.json", finished="Stopped"),
        rewrite("/plan.json", codec="Zstd"),
        rewrite("/plan.json", training={"optimizer": {"name": "Lion"}}),
        rewrite("/plan.json", selection={"policy": "Clustered"}),
        rewrite(".manifest.json", body={"payloads": {"update": {"codec": "Zstd"}}}),
        rewrite("_2.evaluation.json", metrics={"confusion": [1, 2]}),
        rewrite("/close.json", accepted=7),
        rewrite("/failure.json", at="never"),
        lambda hub: by_newer(hub.store, hub, commit={"training_metrics": {"confusion": [1, 2]}}),
        lambda hub: by_newer(hub.store, hub, evaluation={"metrics": {"confusion": [1, 2]}}),
    ],
    ids=["HEAD", "codec", "optimizer", "policy", "manifest", "report", "close", "failure", "commit", "evaluation"],
)
def test_a_whole_record_that_only_a_newer_version_can_read_is_neither_damage_nor_left_out(act):
    hub = begun()
    rounds(hub, 2)
    hub.evaluate("a")
    hub.deliver("a")  # an update that was acknowledged
    at = {"job_uid": UID, "round": 3, "attempt": 1, "at": 5.0}
    hub.interpreter.write_failure(FailureRecord(reason="x", message="", **at))
    hub.interpreter.write_close(CloseRecord(accepted=("a",), reason="Quorum", **at))
    act(hub)
    before = dict(hub.store._objects)
    with pytest.raises(TooOldError, match="go on with the version of Fedloom that wrote it, or with a newer one"):
        begun(hub.store)
    with pytest.raises(TooOldError):
        list(salvage.repaired(hub.store, hub.state.layout))
    after, head = dict(hub.store._objects), hub.state.layout.head
    assert json.loads(after.pop(head))["round"] == json.loads(before.pop(head))["round"] == 2
    assert after == before


def test_a_strategy_of_another_version_is_not_folded_with_ours():
    hub = begun()
    rounds(hub, 1)
    rewrite("/plan.json", strategy={"name": "FedMagic"})(hub)
    again = begun(hub.store)
    again.deliver("a")
    with pytest.raises(TooOldError, match="strategy 'FedMagic' is none of this version's"):
        again.deliver("b")
