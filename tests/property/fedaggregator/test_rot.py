"""Whichever byte of whichever object changes while no aggregator runs: it is found and named, and nothing is made of it."""

from collections.abc import Iterator

import pytest

from fedaggregator.engine.salvage import repaired
from fedaggregator.errors import StoreDamagedError
from fedapi.wire import storekey
from fedapi.wire.layout import Layout
from fedapi.wire.storekey import ManifestKey, ModelKey, RecordKey, ReportKey, UpdateKey
from fedcore.rounds.events import Ticked
from fedcore.rounds.state import Phase
from tests.property.fedaggregator.simulation import CrashingStore, Hub, job

CLIENTS = ("a", "b", "c")
CONFIG = job(CLIENTS, quorum=2, grace_after_quorum_s=1.0)
LAYOUT = Layout(CONFIG.namespace, CONFIG.name, CONFIG.uid)
POSITIONS = 9  # of each object, evenly spread, its first and last byte among them
Objects = dict[str, bytes]


def in_a_round() -> Objects:
    """Round 1 is committed. Attempt 1 of round 2 failed; attempt 2 is closed with two of three updates, not yet folded."""
    hub = Hub(CONFIG)
    hub.start()
    hub.hear(*CLIENTS)
    for act in (hub.evaluate, hub.deliver):
        for client in CLIENTS:
            act(client)
    for client in CLIENTS:
        hub.fail(client)
    hub.evaluate("a")
    hub.deliver("a")
    hub.fail("c")
    hub._perform = lambda effects: None  # the process dies before the fold
    hub.deliver("b")
    assert hub.state.phase is Phase.FOLDING
    return dict(hub.store._objects)


def goes_on(objects: Objects, *, crash: int | None = None, before: bool = True) -> Hub:
    """The next aggregator, to the end; of what is closed with two sites the third one takes no part again.

    It is killed at that write, or right after it, and started again.
    """
    store = CrashingStore()
    store._objects.update(objects)
    store.arm(crash, before=before)
    hub = Hub(CONFIG, store)
    hub.act(hub.start)
    for _ in range(20):
        if hub.finished():
            return hub
        hub.act(hub.hear, *CLIENTS)
        for _ in range(2):  # a site that hears nothing because the process died sends again
            attempt = hub.state.current
            closed_with_two = attempt is not None and (attempt.plan.round, attempt.plan.attempt) == (2, 2)
            for client in CLIENTS:
                hub.act(hub.evaluate, client)
            for client in CLIENTS[:2] if closed_with_two else CLIENTS:
                hub.act(hub.deliver, client)
        hub.now += 5.0
        hub.act(hub.handle, Ticked(hub.now))
    raise AssertionError("the job does not end")


OBJECTS = in_a_round()
SAID = {key: storekey.parsed(LAYOUT, key) for key in OBJECTS}


def digests(hub: Hub) -> list[str]:
    return [commit.model.sha256 for commit in hub.commits()]


REFERENCE = digests(goes_on(OBJECTS))


def test_the_store_holds_every_kind_of_object_and_is_whole():
    names = {said.name if isinstance(said, RecordKey) else type(said) for said in SAID.values() if said}
    records = {"plan.json", "close.json", "commit.json", "evaluation.json", "failure.json"}
    assert names == records | {ModelKey, UpdateKey, ManifestKey, ReportKey}
    assert [key for key, said in SAID.items() if said is None] == [LAYOUT.head]
    assert (len(REFERENCE), goes_on(OBJECTS).named) == (4, [])


def damages(data: bytes) -> Iterator[bytes]:
    """One bit of a byte flipped, at some positions; cut short; empty; zeroes of the same size; gone (None)."""
    for position in sorted({round(i * (len(data) - 1) / (POSITIONS - 1)) for i in range(POSITIONS)}):
        yield data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    yield data[: len(data) // 2]
    yield b""
    yield bytes(len(data))


def is_committed(key: str) -> bool:
    """Whether nothing can be built without it: HEAD, the commits, the last model."""
    said = SAID[key]
    commit = isinstance(said, RecordKey) and said.name == "commit.json"
    return said is None or commit or (isinstance(said, ModelKey) and said.round == 1)


def without_or_with(key: str, data: bytes | None) -> Objects:
    """The store with other content of one object, or without it."""
    return {k: v for k, v in (OBJECTS | {key: data}).items() if v is not None}


def found_out(objects: Objects) -> Hub | StoreDamagedError:
    """The job at its end, or why it cannot go on."""
    try:
        return goes_on(objects)
    except StoreDamagedError as error:
        return error


@pytest.mark.parametrize("key", sorted(SAID))
def test_rot_is_found_named_and_never_folded(key):
    for rotten in (*damages(OBJECTS[key]), None):
        found = found_out(without_or_with(key, rotten))
        if is_committed(key):
            assert isinstance(found, StoreDamagedError), rotten
            assert (key if rotten is not None else key.partition("/e1-")[0]) in str(found), str(found)
            continue
        assert digests(found) == REFERENCE, rotten
        said = SAID[key]
        unread = isinstance(said, ModelKey)  # the model before the last is kept, and nothing is made of it
        quiet = unread or (rotten is None and not isinstance(said, UpdateKey))  # what is not there was never sent
        assert quiet or key in found.named, (rotten, found.named)


@pytest.mark.parametrize("kind", [UpdateKey, ManifestKey, ReportKey])
@pytest.mark.parametrize("before", [True, False])
def test_a_process_that_dies_while_it_mends_changes_nothing(kind, before):
    key = next(key for key, said in SAID.items() if isinstance(said, kind))
    rotten = OBJECTS | {key: OBJECTS[key][:-2] + b"xx"}
    for crash in range(goes_on(rotten).store.writes):
        assert digests(goes_on(rotten, crash=crash, before=before)) == REFERENCE, crash


@pytest.mark.parametrize("key", sorted(key for key in SAID if is_committed(key)))
def test_repair_goes_back_to_the_newest_round_that_is_whole(key):
    for rotten in (*damages(OBJECTS[key]), None):
        store = CrashingStore()
        store._objects.update(without_or_with(key, rotten))
        if "/000000/" in key:  # the first commit: no round that is whole is left
            with pytest.raises(StoreDamagedError, match="no committed round is left"):
                list(repaired(store, LAYOUT))
            continue
        said, done = repaired(store, LAYOUT)
        assert key.partition("/e1-")[0] in said
        whole = 1 if SAID[key] is None else 0
        assert f"HEAD was set to round {whole} " in done
        assert list(repaired(store, LAYOUT)) == ["the store is whole: nothing was changed"]
        hub = goes_on(store._objects)
        assert hub.state.end.reason == "RoundsCompleted"
        assert [commit.round for commit in hub.commits()] == [0, 1, 2, 3]
        assert digests(hub)[: whole + 1] == REFERENCE[: whole + 1]


def test_repair_of_a_store_without_any_commit():
    hub = Hub(CONFIG)
    hub.start()
    model = {key: data for key, data in hub.store._objects.items() if key.startswith("models/")}
    store = CrashingStore()
    assert list(repaired(store, LAYOUT)) == ["the store is whole: nothing was changed"]
    store._objects.update(model)
    assert "the job begins with its initial model" in list(repaired(store, LAYOUT))[1]
    lost = CrashingStore()
    lost._objects.update({key: data for key, data in OBJECTS.items() if key.startswith("models/")})
    with pytest.raises(StoreDamagedError, match="no committed round is left"):
        list(repaired(lost, LAYOUT))


def test_foreign_files_change_nothing():
    strays = ("README", "rounds.txt", "000001", "000001-abc.safetensors", "plan.json", "x.manifest.json")
    folders = (
        LAYOUT.rounds(),
        f"{LAYOUT.round(2)}/e1-a1.bak",
        LAYOUT.models(),
        LAYOUT.all_updates(),
        LAYOUT.updates("a"),
    )
    objects = OBJECTS | {f"{folder}/{name}": b"stray" for folder in folders for name in strays}
    hub = goes_on(objects)
    assert (digests(hub), hub.named) == (REFERENCE, [])
    assert objects.keys() - OBJECTS.keys() <= hub.store._objects.keys(), "what is not ours is left alone"
