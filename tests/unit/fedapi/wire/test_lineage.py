"""A history that was restored under another job: what its commits name is found in the new store, and nothing else moves."""

from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Head

OLD = Layout("lab", "heart-disease", "0b5c1f9e-0000-4000-8000-000000000001")
NEW = Layout("other", "heart", "0b5c1f9e-0000-4000-8000-000000000002")
DIGEST = "ab" * 32


def commit(model: str, hub_state: str | None = None) -> CommitRecord:
    ref = {key: ObjectRef(key=key, sha256=DIGEST, size=9) for key in (model, hub_state) if key}
    times = {"planned_at": 1.0, "committed_at": 2.0}
    return CommitRecord(
        job_uid=OLD.uid, round=7, attempt=1, epoch=1, model=ref[model], hub_state=ref.get(hub_state), **times
    )


def test_what_a_restored_commit_names_is_in_the_new_store():
    found = storekey.here(NEW, commit(OLD.model(7, DIGEST), OLD.hub_state(7, DIGEST)))
    assert found.model.key == NEW.model(7, DIGEST)
    assert found.hub_state.key == NEW.hub_state(7, DIGEST)
    assert found.job_uid == OLD.uid, "who made it stays"
    partial = commit(OLD.model(7, DIGEST)).model_copy(
        update={"initial": found.model.model_copy(update={"key": OLD.model(0, DIGEST)})}
    )
    assert storekey.here(NEW, partial).initial.key == NEW.model(0, DIGEST)


def test_a_jobs_own_commit_stays_as_it_is():
    own = commit(OLD.model(7, DIGEST), OLD.hub_state(7, DIGEST))
    assert storekey.here(OLD, own) == own
    foreign = commit("somewhere/else.safetensors")
    assert storekey.here(NEW, foreign) == foreign


def test_keys_leave_a_job_and_come_into_another():
    for key in (OLD.model(7, DIGEST), OLD.record(7, 2, 1, "plan.json"), OLD.hub_state(7, DIGEST), OLD.head):
        inside = OLD.inside(key)
        assert inside is not None
        assert OLD.uid not in inside
        assert OLD.at(inside) == key
        assert NEW.inside(key) is None
    assert NEW.at(OLD.inside(OLD.model(7, DIGEST))) == NEW.model(7, DIGEST)


def test_a_head_without_lineage_is_stored_as_before():
    assert b"lineage" not in Head(epoch=1, round=3).sealed().canonical()
    head = Head(epoch=1, round=3, lineage=(OLD.uid,)).sealed()
    assert Head.stored(head.canonical()) == head
    assert head.uids(NEW.uid) == {OLD.uid, NEW.uid}
