"""A job moved between stores: whole, verified, resumed after a kill, refused where something else is; and it goes on there."""

import contextlib
import hashlib

import pytest

from fedapi.wire.layout import Layout
from fedapi.wire.store import Head as HeadRecord
from fedstore import copying
from fedstore.disk import DiskStore
from fedstore.errors import CopyRefusedError, HistoryDamagedError, MissingError
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import UID, Crash, CrashingStore, Hub, job

SITES = ("a", "b")
JOB = Layout("ns", "job", UID)


def after(rounds, hub=None):
    """A hub whose job has so many committed rounds of six."""
    hub = hub or Hub(job(SITES, rounds=6))
    hub.act(hub.start)
    hub.act(hub.hear, *SITES)
    while not hub.finished() and hub.state.tip.round < rounds:
        for client in SITES:
            hub.act(hub.evaluate, client)
        for client in SITES:
            hub.act(hub.deliver, client)
        if hub.state.closing:
            hub.now += 1000
            for client in SITES:
                hub.act(hub.hear, client)
    return hub


def content(store):
    return {key: store.get(key) for key in store.keys("")}


def copy(source, target, **options):
    return list(copying.copied(source, target, JOB, **options))


@pytest.fixture
def source():
    """Three rounds, and one site's update of the fourth."""
    hub = after(3)
    assert hub.deliver("a") == "Accepted"
    return hub.store


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_everything_of_the_job_is_there_and_head_comes_last(source, tmp_path, kind):
    source.put_once(f"ledger/ns/job-{UID}/000001.jsonl", b"{}\n")
    source.put_once("models/ns/other-uid/README", b"another job's")
    entrusted = JOB.entrusted_state("a", 3, 1, "5" * 64, hashlib.sha256(b"state").hexdigest())
    source.put_once(entrusted, b"state")
    target = MemoryStore() if kind == "memory" else DiskStore(tmp_path)
    steps = copy(source, target)
    ours = {key: data for key, data in content(source).items() if "other" not in key}
    assert content(target) == ours
    assert {step.key for step in steps} == ours.keys()
    assert steps[-1].key == JOB.head
    assert {step.how for step in steps} == {"copied"}
    assert {step.how for step in copy(source, target, verify=True)} == {"was there"}


def test_the_job_goes_on_in_the_target_to_the_same_model(source):
    undisturbed = after(6)
    target = CrashingStore()
    copy(source, target)
    moved = after(6, Hub(job(SITES, rounds=6), target))
    assert moved.commits()[-1].model == undisturbed.commits()[-1].model
    assert len(moved.commits()) == 7


@pytest.mark.parametrize("before", [True, False])
def test_killed_at_any_write_it_has_not_happened_and_goes_on(source, before):
    expected = content(source)
    for fatal in range(len(expected)):
        target = CrashingStore()
        target.arm(fatal, before=before)
        with contextlib.suppress(Crash):
            copy(source, target)
        target.arm(None, before=before)
        there = set(target.keys(""))
        assert JOB.head not in there or there == expected.keys()
        steps = copy(source, target)
        assert {step.key for step in steps if step.how == "was there"} == there
        assert content(target) == expected


def test_an_older_state_of_the_job_is_brought_up_to_date(source):
    target = CrashingStore()
    copy(source, target)
    before = set(target.keys(""))
    after(5, Hub(job(SITES, rounds=6), source))
    steps = copy(source, target)
    assert {step.key for step in steps if step.how == "was there"} == before & set(source.keys("")) - {JOB.head}
    assert target.get(JOB.head) == source.get(JOB.head)


def test_a_target_that_is_newer_foreign_or_in_use_is_refused(source):
    newer = after(4).store
    with pytest.raises(CopyRefusedError, match="not of the source's past"):
        copy(source, newer)
    foreign = Hub(job(SITES, rounds=6))
    foreign.now += 1
    with pytest.raises(CopyRefusedError, match="not of the source's past"):
        copy(source, after(2, foreign).store)
    used = CrashingStore()
    copy(source, used)
    Hub(job(SITES, rounds=6), used).start()
    before = content(used)
    with pytest.raises(CopyRefusedError, match="an aggregator has begun in the target"):
        copy(source, used)
    assert content(used) == before


def test_a_target_with_other_objects_of_the_job_is_refused(source):
    target = MemoryStore()
    key = next(key for key in source.keys(JOB.rounds()) if key.endswith("plan.json"))
    target.put_once(key, b"other")
    with pytest.raises(CopyRefusedError, match="choose an empty target"):
        copy(source, target)
    assert target.head(JOB.head) is None


@pytest.mark.parametrize("what", ["models/", "updates/", "plan.json", "manifest.json", "evaluation.json"])
def test_what_is_damaged_is_named_and_head_is_not_copied(source, what):
    key = next(key for key in source.keys("") if what in key)
    damaged = bytearray(source.get(key))
    damaged[len(damaged) // 2] ^= 1
    source._objects[key] = bytes(damaged)
    target = MemoryStore()
    with pytest.raises(HistoryDamagedError, match=key):
        copy(source, target)
    assert set(target.keys("")) == set(source.keys("")) - {key, JOB.head}


def test_a_broken_chain_copies_nothing(source):
    key = [key for key in source.keys(JOB.rounds()) if key.endswith("commit.json")][1]
    source.delete(key)
    target = MemoryStore()
    with pytest.raises(HistoryDamagedError, match="lost or changed"):
        copy(source, target)
    assert list(target.keys("")) == []


def test_a_job_that_goes_on_meanwhile_is_copied_again(source):
    target = MemoryStore()
    steps = copying.copied(source, target, JOB)
    next(steps)
    hub = Hub(job(SITES, rounds=6), source)
    hub.start()
    with pytest.raises(CopyRefusedError, match="suspend the job"):
        list(steps)
    assert target.head(JOB.head) is None
    copy(source, target)
    assert content(target) == content(source)


def test_verify_finds_and_mends_what_is_damaged_in_the_target(source):
    target = MemoryStore()
    copy(source, target)
    key = next(iter(source.keys("models/")))
    target._objects[key] = target.get(key)[:-1] + b"?"
    assert {step.how for step in copy(source, target)} == {"was there"}
    assert [step.key for step in copy(source, target, verify=True) if step.how == "copied"] == [key]
    assert content(target) == content(source)


def test_two_copies_at_once_end_with_one_head(source):
    target = MemoryStore()
    first = copying.copied(source, target, JOB)
    for _ in range(len(content(source)) - 1):
        next(first)
    copy(source, target)
    with pytest.raises(CopyRefusedError, match="two copies at once"):
        list(first)
    assert content(target) == content(source)


def test_jobs_of_a_store_are_those_with_a_head(source):
    uid = "0b0ab1fc-0000-4000-8000-000000000001"
    layout = Layout("ns", "job", uid)
    source.put_once(f"control/ns/other-{uid}/rounds/README", b"")
    source.replace_head(layout.head, HeadRecord(epoch=1, round=-1).sealed().canonical(), None)
    assert copying.jobs(source) == [layout]
    with pytest.raises(MissingError, match=r"HEAD\.json"):
        list(copying.copied(source, MemoryStore(), Layout("ns", "none", uid)))
