"""Jobs with real rounds in stores in memory, their backups, and what goes wrong on the way. Used by the tests beside."""

from collections.abc import Callable

from fedapi.wire.layout import Layout
from fedbackup.archive import Archive
from fedbackup.create import Maker, Policy
from fedbackup.freezing import Thaw
from fedbackup.manifest import Signer
from fedbackup.restore import Request, Restored, chosen, restored
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import Hub, job

OLD, NEW = "0b5c1f9e-0000-4000-8000-000000000001", "0b5c1f9e-0000-4000-8000-000000000002"
SITES = ("a", "b", "c")
JOB_KEY = bytes(range(32))
SIGNER = Signer(JOB_KEY)
FEDERATED_JOB = {
    "apiVersion": "fedloom.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": "job", "namespace": "ns", "uid": OLD},
    "spec": {"rounds": 6, "seed": 5},
}


class Clock:
    """Time that passes when somebody waits, or is told to jump."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.waited.append(seconds)


def hub(uid: str = OLD, store: MemoryStore | None = None, **values) -> Hub:
    made = Hub(job(SITES, uid=uid, **{"rounds": 6} | values), store)
    made.start()
    made.hear(*SITES)
    return made


def train(hub: Hub, rounds: int) -> None:
    """Until so many rounds are committed, with evaluations."""
    while (before := hub.state.tip.round) < rounds:
        for client in SITES:
            hub.evaluate(client)
        for client in SITES:
            hub.deliver(client)
        assert hub.state.tip.round > before, hub.state


def finish(hub: Hub) -> str:
    """Until the end; the last model's digest."""
    train(hub, hub.config.rounds)
    while not hub.finished():
        for client in SITES:
            hub.evaluate(client)
        hub.now += 1000
        hub.hear(*SITES)
    return hub.state.tip.model.sha256


def archive(store: MemoryStore | None = None, uid: str = OLD, pinned: str = "") -> Archive:
    return Archive(store or MemoryStore(), Layout("ns", "job", uid), pinned)


def maker(hub: Hub, to: Archive, clock: Clock | None = None, objects=(FEDERATED_JOB,), **policy) -> Maker:
    clock = clock or Clock()
    return Maker(hub.store, to, SIGNER, objects, Policy(**policy), clock, clock.pause)


def restore(
    from_: Archive, name: str = "", uid: str = NEW, target: MemoryStore | None = None,
    clock: Clock | None = None, said: Callable[[str], None] = print, patience_s: float = 1e6, **values,
) -> tuple[MemoryStore, Restored]:  # fmt: skip
    target, clock = target if target is not None else MemoryStore(), clock or Clock()
    request = Request(Layout("ns", "job", uid), clock(), **values)
    thaw = Thaw(patience_s, clock, clock.pause, said)
    return target, restored(from_, chosen(from_, name, target, request.layout), target, request, thaw)
