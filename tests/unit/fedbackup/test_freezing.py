"""Old models go to a cold class, late enough and never those that are needed at once; a restore asks, waits and says how long."""

import pytest

from fedbackup.errors import BadRequestError, NotRestorableError, Reason
from fedbackup.freezing import Thaw
from fedbackup.verify import Demand, Verifier
from fedstore.errors import StoreFailedError
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import CrashingStore
from tests.unit.fedbackup.jobs import NEW, OLD, SIGNER, Clock, archive, finish, hub, maker, restore, train

DAY_S = 86_400.0


class ColdStore(MemoryStore):
    """Thaws after an object was asked for so often; reads nothing that is cold."""

    thaw_takes = "3 to 5 hours"

    def __init__(self, questions: int = 3) -> None:
        super().__init__()
        self.cold: dict[str, int] = {}
        self.questions = questions

    def freeze(self, key: str) -> None:
        self.cold[key] = self.questions

    def thawed(self, key: str) -> bool:
        if key in self.cold:
            self.cold[key] -= 1
            if self.cold[key] <= 0:
                del self.cold[key]
        return key not in self.cold

    def reader(self, key):
        if key in self.cold:
            raise StoreFailedError(f"{key} is cold")
        return super().reader(key)

    def get(self, key):
        if key in self.cold:
            raise StoreFailedError(f"{key} is cold")
        return super().get(key)


@pytest.fixture
def cold():
    """A backup of five rounds, whose old models are cold since the second one."""
    job, clock = hub(), Clock()
    train(job, 5)
    to = archive(ColdStore())
    maker(job, to, clock, cold_after_days=90).made()
    assert to.store.cold == {}
    clock.now += 89 * DAY_S
    maker(job, to, clock, cold_after_days=90).made()
    assert to.store.cold == {}, "not yet"
    clock.now += 2 * DAY_S
    made = maker(job, to, clock, cold_after_days=90).made()
    return job, to, clock, made


def test_only_old_models_go(cold):
    _, to, _, made = cold
    gone = {entry.path.partition("-")[0] for entry in made.manifest.entries if entry.cold}
    assert gone == {"models/000000", "models/000001", "models/000002", "models/000003"}
    assert set(to.store.cold) == {to.object_key(entry.sha256) for entry in made.manifest.entries if entry.cold}


def test_the_next_backup_neither_reads_nor_copies_them(cold):
    job, to, clock, _ = cold
    train(job, 6)
    before = dict(to.store.cold)
    made = maker(job, to, clock, cold_after_days=90).made()
    assert made.trouble is None
    assert before.items() <= to.store.cold.items()
    more = {
        entry.path.partition("-")[0]
        for entry in made.manifest.entries
        if entry.cold and to.object_key(entry.sha256) not in before
    }
    assert more == {"models/000004"}, "which is two rounds old now"


def test_a_verification_sees_that_they_are_there_and_thaws_nothing(cold, tmp_path):
    _, to, _, _ = cold
    clock, before = Clock(), dict(to.store.cold)
    thaw = Thaw(0.0, clock, clock.pause, print)
    proof = Verifier(to, SIGNER, tmp_path / "scratch", None, Demand(), thaw, clock).proved()
    assert proof.error is None
    assert proof.evidence.unread == 4
    assert to.store.cold == before
    to.store._objects.pop(next(iter(to.store.cold)))
    proof = Verifier(to, SIGNER, tmp_path / "again", None, Demand(), thaw, clock).proved()
    assert proof.error.reason == Reason.BACKUP_DAMAGED


def test_a_restore_asks_waits_and_says_how_long(cold):
    _, to, _, _ = cold
    clock, said = Clock(), []
    store, done = restore(to, clock=clock, said=said.append, target=CrashingStore())
    assert clock.waited == [60.0, 60.0]
    assert done.waited_s == 120.0
    assert "4 objects" in said[0]
    assert "3 to 5 hours" in said[0]
    assert finish(hub(NEW, store)) == finish(hub())


def test_a_restore_that_may_not_wait_says_so_and_has_asked(cold):
    _, to, _, _ = cold
    with pytest.raises(NotRestorableError, match="it was asked for") as error:
        restore(to, patience_s=30.0)
    assert error.value.reason == Reason.STILL_COLD
    assert set(to.store.cold.values()) == {1}
    store, _ = restore(to)
    assert store.head(f"control/ns/job-{NEW}/HEAD.json")


def test_a_store_without_a_cold_class_is_told():
    job = hub()
    train(job, 1)
    with pytest.raises(BadRequestError, match="no cold class"):
        maker(job, archive(uid=OLD), cold_after_days=1).made()
