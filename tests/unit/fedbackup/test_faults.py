"""What goes wrong while a backup is made: kills, races, rot, full and forbidden stores, clocks. Nothing false is ever archived."""

import contextlib

import pytest

from fedbackup.archive import GRACE_S, SWEEP_S
from fedbackup.create import Maker, Policy
from fedbackup.errors import BackupError, BadRequestError, NotBackedUpError, Reason, StoreTroubleError
from fedstore.disk import DiskStore
from fedstore.errors import StoreDeniedError, StoreFailedError, StoreFullError
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import Crash, CrashingStore
from tests.unit.fedbackup.jobs import (
    FEDERATED_JOB,
    NEW,
    SIGNER,
    Clock,
    archive,
    finish,
    hub,
    maker,
    restore,
    train,
)


@pytest.fixture(scope="module")
def job():
    made = hub()
    train(made, 3)
    return made


@pytest.fixture(scope="module")
def undisturbed():
    return finish(hub())


def good(to, expected: str) -> None:
    """The newest backup restores, and the job ends as it should."""
    store, _ = restore(to, target=CrashingStore())
    assert finish(hub(NEW, store)) == expected


def test_killed_at_every_write(job, undisturbed):
    straight = CrashingStore()
    first = maker(job, archive(straight)).made()
    assert straight.writes > 15
    for write in range(straight.writes):
        for before in (True, False):
            store = CrashingStore()
            to, clock = archive(store), Clock()
            store.arm(write, before=before)
            with contextlib.suppress(Crash):
                maker(job, to, clock).made()
            store.arm(None, before=True)
            at_once = len(to.names())
            assert at_once <= 1
            if at_once:  # what is listed is whole
                good(to, undisturbed)
            clock.now += 60
            again = maker(job, to, clock).made()
            assert again.trouble is None
            assert [e.sha256 for e in again.manifest.entries] == [e.sha256 for e in first.manifest.entries]
            assert len(to.names()) == at_once + 1
    good(to, undisturbed)


def test_killed_at_every_write_of_a_restore(job, undisturbed):
    to = archive()
    maker(job, to).made()
    straight = CrashingStore()
    restore(to, target=straight)
    for write in range(straight.writes):
        for before in (True, False):
            store = CrashingStore()
            store.arm(write, before=before)
            with contextlib.suppress(Crash):
                restore(to, target=store)
            store.arm(None, before=True)
            restore(to, target=store, clock=Clock(2e9))
            assert {k: v for k, v in store._objects.items() if "restored.json" not in k} == {
                k: v for k, v in straight._objects.items() if "restored.json" not in k
            }
    assert finish(hub(NEW, store)) == undisturbed


def test_a_killed_restore_goes_on_with_its_backup_when_there_is_a_newer_one():
    job = hub()
    train(job, 2)
    to, target = archive(), CrashingStore()
    maker(job, to).made()
    target.arm(5, before=True)
    with pytest.raises(Crash):
        restore(to, target=target)
    target.arm(None, before=True)
    train(job, 3)
    maker(job, to).made()
    for again in (False, True):
        _, done = restore(to, target=target)
        assert (done.head.round, done.was_there) == (2, again)


def test_only_what_is_new_is_copied_again():
    job = hub()
    train(job, 3)
    to = archive()
    first = maker(job, to).made().manifest
    assert first.new_bytes == sum({e.sha256: e.size for e in first.entries}.values())
    nothing = maker(job, to).made().manifest
    assert nothing.new_bytes == 0
    train(job, 4)
    after = maker(job, to).made().manifest
    new = {e.path for e in after.entries} - {e.path for e in first.entries}
    fresh = sum(e.size for e in after.entries if e.path in new or e.path == "control/HEAD.json")
    assert after.new_bytes == fresh
    assert (first.sequence, nothing.sequence, after.sequence) == (1, 2, 3)


def test_two_at_once_are_both_good(job, undisturbed):
    store = MemoryStore()
    other = maker(job, archive(store), Clock(), keep_last=1)
    done = []

    class Racing(MemoryStore):
        """Lets another backup be made, from its beginning to its end, in the middle of this one."""

        def writer(self, key, **values):
            if not done:
                done.append(None)
                done.append(other.made())
            return super().writer(key, **values)

    racing = Racing()
    racing._objects = store._objects
    first = maker(job, archive(racing), Clock(), keep_last=1).made()
    assert first.trouble is None
    assert done[1].trouble is None
    good(archive(store), undisturbed)


def test_a_sweep_leaves_what_is_being_copied():
    job = hub()
    train(job, 2)
    store, clock = MemoryStore(), Clock()
    to = archive(store)
    maker(job, to, clock).made()
    train(job, 3)
    left = []

    class Meanwhile(MemoryStore):
        """An old snapshot is being made when another backup sweeps."""

        def put_once(self, key, data):
            if "/manifests/" in key and not left:
                left.append(None)
                train(job, 4)
                maker(job, archive(store), clock, keep_last=1).made()
            return super().put_once(key, data)

    racing = Meanwhile()
    racing._objects = store._objects
    made = Maker(job.store, archive(racing), SIGNER, (FEDERATED_JOB,), Policy(2), clock, clock.pause).made()
    for name in archive(store).names():
        restore(archive(store), name)
    assert made.found.name in archive(store).names()


def test_a_backup_that_was_taken_for_dead_is_whole_all_the_same():
    job = hub()
    train(job, 3)
    store, clock, late = MemoryStore(), Clock(), Clock()
    late.now += GRACE_S + 1
    swept = []

    class Meanwhile(MemoryStore):
        """Another backup, of a later round, sweeps when the first content of this one is there."""

        def put_once(self, key, data):
            ref = super().put_once(key, data)
            if "/objects/" in key and not swept:
                swept.append(key)
                train(job, 4)
                maker(job, archive(store), late, keep_last=1).made()
                assert key not in store._objects
            return ref

    racing = Meanwhile()
    racing._objects = store._objects
    made = Maker(job.store, archive(racing), SIGNER, (FEDERATED_JOB,), Policy(2), clock, clock.pause).made()
    restore(archive(store), made.found.name)


def test_a_maker_waits_for_a_sweep(job):
    to, clock = archive(), Clock()
    with to.at_work("sweep", clock) as sweep:
        waiting = Clock()

        def over(seconds: float) -> None:
            waiting.waited.append(seconds)
            to.store.delete(sweep)

        Maker(job.store, to, SIGNER, (FEDERATED_JOB,), Policy(), clock, over).made()
    assert waiting.waited == [1.0]


def test_a_killed_sweep_holds_nobody_for_ever(job):
    """Whatever the clock of its machine said."""
    to, clock = archive(), Clock()
    with to.at_work("sweep", Clock(clock.now + 600)) as sweep:
        data = to.store.get(sweep)
    to.store.put_once(sweep, data)  # what a killed one leaves
    maker(job, to, clock).made()
    assert SWEEP_S < sum(clock.waited) < 3 * SWEEP_S
    assert not list(to.store.keys("backups/underway/"))


def test_a_killed_maker_holds_sweeps_up_for_a_day(job):
    to, clock = archive(), Clock()
    with to.at_work("create", clock) as other:
        data = to.store.get(other)
    to.store.put_once(other, data)
    to.store.put_once(to.object_key("f" * 64), b"left by it")
    maker(job, to, clock, keep_last=1).made()
    assert "f" * 64 in to.content()
    clock.now += GRACE_S + 1
    maker(job, to, clock, keep_last=1).made()
    assert "f" * 64 not in to.content()


def test_killed_at_every_write_of_a_sweep(undisturbed):
    job = hub()
    train(job, 3)
    straight = MemoryStore()
    maker(job, archive(straight)).made()
    for sha256 in ("e" * 64, "f" * 64):
        straight.put_once(archive(straight).object_key(sha256), b"superfluous")
    for write in range(40):
        store, clock = CrashingStore(), Clock()
        store._objects = dict(straight._objects)
        store.arm(write, before=False)
        to = archive(store)
        with contextlib.suppress(Crash):
            maker(job, to, clock, keep_last=1).made()
        store.arm(None, before=True)
        clock.now += GRACE_S + 1
        assert maker(job, to, clock, keep_last=1).made().trouble is None
        assert len(to.names()) == 1
        assert not {"e" * 64, "f" * 64} & to.content()
    good(to, undisturbed)


def test_rot_of_what_is_needed_is_named_and_not_archived():
    job = hub()
    train(job, 3)
    key = job.state.tip.model.key
    job.store._objects[key] = job.store._objects[key][:-1] + b"\1"
    to = archive()
    with pytest.raises(NotBackedUpError, match=job.state.tip.model.sha256) as error:
        maker(job, to).made()
    assert error.value.reason == Reason.SOURCE_DAMAGED
    assert to.names() == []
    assert job.state.tip.model.sha256 not in to.content(), "nothing is kept under a digest that it has not"


def test_rot_of_an_old_model_is_left_out_and_told():
    job = hub()
    train(job, 3)
    old = job.commits()[1].model
    good_copy = job.store._objects[old.key]
    job.store._objects[old.key] = good_copy[:-1] + b"\1"
    to = archive()
    made = maker(job, to).made()
    assert made.trouble.reason == Reason.SOURCE_DAMAGED
    assert list(made.manifest.left_out) == [job.state.layout.inside(old.key)]
    assert to.names() == [made.found.name], "the rest is archived"
    job.store._objects[old.key] = good_copy
    assert maker(job, to).made().trouble is None
    job.store._objects[old.key] = b"rotten again"
    assert maker(job, to).made().trouble is None, "what is archived is not read again"


@pytest.mark.parametrize("what", ["commit", "plan"])
def test_rot_of_a_record_is_named(what):
    job = hub()
    train(job, 3)
    key = next(k for k in job.store.keys(job.state.layout.round(2)) if k.endswith(f"{what}.json"))
    job.store._objects[key] = job.store._objects[key].replace(b'"round":2', b'"round":3')
    to = archive()
    if what == "commit":
        with pytest.raises(NotBackedUpError, match="round 2") as error:
            maker(job, to).made()
        assert error.value.reason == Reason.SOURCE_DAMAGED
    else:
        made = maker(job, to).made()
        assert list(made.manifest.left_out) == [job.state.layout.inside(key)]


def test_what_history_deletes_meanwhile_begins_the_snapshot_anew(undisturbed):
    job = hub(history_keep=2)
    train(job, 3)
    gone = []

    class Busy(MemoryStore):
        """Two rounds are committed, and old models deleted, while the first object is copied."""

        def reader(self, key):
            if not gone and "models/" in key:
                gone.append(key)
                train(job, 5)
            return super().reader(key)

    source = Busy()
    source._objects = job.store._objects
    to = archive()
    keep = FEDERATED_JOB | {"spec": {"storage": {"history": {"keep": 2}}}}
    made = Maker(source, to, SIGNER, (keep,), Policy(), Clock(), Clock().pause).made()
    assert made.trouble is None
    assert made.manifest.round == 5
    good(to, undisturbed)


def test_a_state_that_a_newer_one_replaces_meanwhile_is_left_out_and_no_damage(job):
    """No round is committed between: sites entrust their states whenever they like."""
    layout, sha256 = job.state.layout, "5" * 64
    older, newer = (layout.entrusted_state("a", round_, 1, sha256, sha256) for round_ in (2, 3))

    class Busy(MemoryStore):
        def reader(self, key):
            if "models/" in key:
                self.delete(older)
            return super().reader(key)

    source = Busy()
    source._objects = dict(job.store._objects)
    for key in (older, newer):
        source.put_once(key, b"state")
    to = archive()
    first = Maker(source, to, SIGNER, (FEDERATED_JOB,), Policy(), Clock(), Clock().pause).made()
    source.put_once(older, b"state")
    made = Maker(source, to, SIGNER, (FEDERATED_JOB,), Policy(), Clock(), Clock().pause).made()
    assert (first.trouble, made.trouble) == (None, None)
    found = [[e.path for e in each.manifest.entries if e.path.startswith("checkpoints/")] for each in (first, made)]
    assert layout.inside(newer) in found[0]
    assert layout.inside(newer) in found[1]


def test_nothing_committed_is_no_backup():
    for source in (MemoryStore(), MemoryStore()):
        to = archive()
        with pytest.raises(NotBackedUpError) as error:
            Maker(source, to, SIGNER).made()
        assert error.value.reason == Reason.NOTHING_COMMITTED
        assert list(to.store.keys("")) == []


def test_a_shrunken_store_fails_by_name_and_deletes_nothing():
    job, shorter = hub(), hub()
    train(job, 4)
    train(shorter, 2)
    to = archive()
    maker(job, to).made()
    made = maker(shorter, to, keep_last=1).made()
    assert made.trouble.reason == Reason.SHRUNKEN
    assert "round 2" in str(made.trouble)
    assert "round 4" in str(made.trouble)
    assert len(to.names()) == 2
    restore(to, to.names()[0])


def test_longer_backups_stay_until_a_store_that_went_back_has_caught_up():
    job, shorter = hub(), hub()
    train(job, 4)
    train(shorter, 2)
    to = archive()
    maker(job, to).made()
    for many in (2, 3):
        assert maker(shorter, to, keep_last=1).made().trouble.reason == Reason.SHRUNKEN
        assert len(to.names()) == many
    train(shorter, 4)
    assert maker(shorter, to, keep_last=1).made().trouble is None
    assert len(to.names()) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StoreFullError("no room"), Reason.STORE_FULL), (StoreDeniedError("the key is gone"), Reason.STORE_DENIED)],
)
def test_a_destination_that_is_full_or_forbidden(job, error, reason):
    class Refusing(MemoryStore):
        """After the first objects."""

        def add(self, key, data, sha256):
            if len(self._objects) > 5:
                raise error
            super().add(key, data, sha256)

    store = Refusing()
    to = archive(store)
    with pytest.raises(StoreTroubleError, match="the backups' store") as found:
        maker(job, to).made()
    assert found.value.reason == reason
    assert to.names() == []
    assert not [key for key in store.keys("backups/underway/") if "create" in key], "it says that it is gone"


def test_clocks_that_jump(job, undisturbed):
    to, clock = archive(), Clock()
    for jump in (0.0, -5e7, 1e8, -1e8):
        clock.now += jump
        maker(job, to, clock).made()
    names = to.names()
    assert [to.read(name).manifest.sequence for name in names] == [1, 2, 3, 4]
    assert to.newest().name == names[-1], "the last one made is the newest, whatever the clocks say"
    clock.now -= 1e8
    made = maker(job, to, clock, keep_last=2).made()
    assert to.names() == [names[-1], made.found.name]
    good(to, undisturbed)


@pytest.mark.parametrize("end", [SystemExit(143), ValueError("x")])
def test_what_ended_a_backup_is_told_also_where_its_store_is_lost(monkeypatch, end):
    to = archive()

    def lost(_: str) -> None:
        raise StoreFailedError("gone")

    monkeypatch.setattr(to.store, "delete", lost)
    with pytest.raises(type(end)), to.at_work("create", Clock()):
        raise end


def test_halves_that_killed_backups_left_on_a_volume_go_with_the_next_sweep(job, tmp_path):
    to = archive(DiskStore(tmp_path))
    maker(job, to, keep_last=1).made()
    left = to.store.temporary()
    left.write_bytes(b"half")
    maker(job, archive(to.store), keep_last=1).made()
    assert not left.exists()
    left.write_bytes(b"half")
    with to.at_work("create", Clock()):
        maker(job, to, keep_last=1).made()
    assert left.exists(), "it may be of somebody who is at work"
    restore(to)


def test_of_kept_backups_nothing_is_missing():
    job = hub(history_keep=2)
    keep = FEDERATED_JOB | {"spec": {"storage": {"history": {"keep": 2}}}}
    to, counts = archive(), []
    for round_ in range(2, 7):
        train(job, round_)
        maker(job, to, objects=(keep,), keep_last=2).made()
        counts.append(len(to.content()))
        for name in to.names():
            restore(to, name)
    assert len(to.names()) == 2
    needed = {e.sha256 for name in to.names() for e in to.read(name).manifest.entries}
    assert to.content() == needed, "and nothing superfluous"


@pytest.mark.parametrize("wrong", [{"round": 9}, {"name": "000009-nothing"}])
def test_what_is_not_there_is_told_with_what_is(job, wrong):
    to = archive()
    made = maker(job, to).made()
    with pytest.raises(BadRequestError) as error:
        restore(to, **wrong)
    assert made.found.name in str(error.value) or "0, 1, 2, 3" in str(error.value)


def test_a_backup_error_has_a_reason_for_each(job):
    assert len({str(reason) for reason in Reason}) == len(Reason)
    assert issubclass(NotBackedUpError, BackupError)
