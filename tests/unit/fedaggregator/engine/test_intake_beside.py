"""Sites do not wait for each other's disk writes, and what was decided during a write holds."""

import asyncio
import contextlib
import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator import metrics
from fedaggregator.clock import steady_clock
from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import MISSES, Intake
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.delivery import SignedUrls
from fedaggregator.http.signedurls import UrlSigner
from fedapi.wire.job import RollbackTo
from fedapi.wire.message import ObjectRef
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import Refusal
from fedapi.wire.training import TrainingOverride
from fedapi.wire.update import HandedUpdate, Payload, UpdateManifest
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.effects import Discard, FindRound
from fedcore.rounds.events import InitialModelFound, RoundLost, SiteFailed
from fedcore.rounds.state import Phase
from fedstore.errors import MissingError, UnfitStoreError
from fedstore.memory import MemoryStore
from fedstore.objectstore import DIGEST
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.waiting import PATIENCE_S

UPDATE = save({"w": np.ones(4, np.float32)})


class SlowStore(MemoryStore):
    """The disk stands still under the manifests of one site, until it is let go."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site, self.reached, self.go = site, threading.Event(), threading.Event()

    def add(self, key, data, sha256):
        if f"/{self.site}/" in key and key.endswith(".manifest.json"):
            self.reached.set()
            assert self.go.wait(PATIENCE_S)
        return super().add(key, data, sha256)


@contextlib.asynccontextmanager
async def collecting(tmp_path, store, threads=None, config=None, initial=None, **values):
    """An engine that collects round 1 of sites a and b, and its intake. `initial`: a model that later ones need."""
    (tmp_path / "job.json").write_text((config or rules.config("ab", **values)).model_dump_json())
    with threads or ThreadPoolExecutor(4) as pool:
        engine = Engine(
            store,
            Payloads(store, bytes(32)),
            ConfigFile(tmp_path / "job.json", "uid"),
            steady_clock(),
            pool,
            1.0,
            bytes(32),
        )
        await engine.start()
        others = [asyncio.create_task(asyncio.sleep(600)) for _ in range(2)]  # server and publisher
        running = asyncio.create_task(engine.run(*others))
        try:
            async with asyncio.timeout(30):
                with store.writer(engine.state.layout.model(0, DIGEST)) as writer:
                    writer.write(initial or save({"w": np.zeros(4, np.float32)}))
                    found = InitialModelFound(engine.clock(), writer.finish(), partial=initial is not None)
                    await engine.handle(found)
                for site in "ab":
                    await engine.heard(site)
                assert engine.state.phase is Phase.COLLECTING
                yield (
                    engine,
                    Intake(
                        engine,
                        store,
                        Payloads(store, bytes(32)),
                        SignedUrls(UrlSigner(b"k", "https://hub", 60.0), store, engine.clock),
                    ),
                )
        finally:
            store.go.set()
            engine.stop()
            for task in (running, *others):
                task.cancel()
            engine.close()


def envelope(engine: Engine, store: MemoryStore, site: str, nonce: str = "n", inline: bool = False) -> HandedUpdate:
    plan, sha256 = engine.state.current.plan, hashlib.sha256(UPDATE).hexdigest()
    key = engine.state.layout.update(site, plan.round, sha256)
    payload = ObjectRef(key=key, sha256=sha256, size=len(UPDATE)) if inline else store.put_once(key, UPDATE)
    body = UpdateManifest(
        job_uid="uid", round=plan.round, attempt=plan.attempt, client=site, base_sha256=plan.base.sha256,
        payloads={"update": Payload(object=payload)}, samples=5, training_s=1.0, nonce=nonce * 16,
    )  # fmt: skip
    return HandedUpdate(body=body, content={"update": UPDATE} if inline else {})


async def shown(engine: Engine, fact) -> None:
    while not fact():
        await engine.news.wait()
        engine.news.clear()


async def waited(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


def test_a_site_does_not_wait_for_the_disk_write_of_another(tmp_path):
    async def run():
        store = SlowStore("a")
        async with collecting(tmp_path, store) as (engine, intake):
            slow = asyncio.create_task(intake.update("a", envelope(engine, store, "a")))
            await waited(store.reached)
            assert not (await intake.update("b", envelope(engine, store, "b"))).duplicate
            assert list(engine.state.current.accepted) == ["b"]
            store.go.set()
            assert not (await slow).duplicate

    asyncio.run(run())


def test_no_decision_waits_for_bulk_work(tmp_path):
    """All threads of the pool hash and check; an update fails its site, and the attempt is planned anew, meanwhile."""

    async def run():
        store, pool = SlowStore(""), ThreadPoolExecutor(4)
        async with collecting(tmp_path, store, pool) as (engine, _):
            bulk = [asyncio.create_task(engine.blocking(store.go.wait, 30)) for _ in range(9)]
            await asyncio.sleep(0)
            now, plan = engine.clock(), engine.state.current.plan
            await engine.handle(SiteFailed(now, "a", plan.round, plan.attempt, "OutOfMemory", ""))
            assert engine.state.current.plan.attempt == plan.attempt + 1
            assert not any(task.done() for task in bulk)
            assert len(list(store.keys(engine.state.layout.round(plan.round)))) == 3, "a failure and two plans"
            store.go.set()
            assert all(await asyncio.gather(*bulk))

    asyncio.run(run())


def test_an_update_that_comes_with_its_manifest_is_kept_as_one_that_was_put(tmp_path):
    async def run():
        kept = []
        for inline in (False, True):
            store = SlowStore("nobody")
            (folder := tmp_path / str(inline)).mkdir()
            async with collecting(folder, store) as (engine, intake):
                sent = envelope(engine, store, "a", inline=inline)
                assert not (await intake.update("a", sent)).duplicate
                assert (await intake.update("a", sent)).duplicate
                kept.append({key: store.get(key) for key in store.keys("updates/")})
        assert kept[0] == kept[1]
        assert [key.rpartition(".")[2] for key in kept[1]] == ["safetensors", "json"]

    asyncio.run(run())


def test_what_comes_with_a_manifest_and_is_not_its_own_is_refused_and_not_kept(tmp_path):
    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store) as (engine, intake):
            sent = envelope(engine, store, "a", inline=True)
            large = b"x" * (engine.state.current.plan.base.size + (2 << 20))
            for content, code in (
                ({"update": UPDATE[:-1]}, "WrongSize"),
                ({"update": UPDATE[:-1] + b"x"}, "WrongDigest"),
                ({"update": UPDATE, "controls": UPDATE}, "Malformed"),
                ({}, "Missing"),
            ):
                with pytest.raises(RequestRefusedError) as told:
                    await intake.update("a", sent.model_copy(update={"content": content}))
                assert told.value.refusal.code == code
            digest = hashlib.sha256(large).hexdigest()
            key = engine.state.layout.update("a", 1, digest)
            payloads = {"update": Payload(object=ObjectRef(key=key, sha256=digest, size=len(large)))}
            body = sent.body.model_copy(update={"payloads": payloads})
            with pytest.raises(RequestRefusedError, match="which the base model allows"):
                await intake.update("a", HandedUpdate(body=body, content={"update": large[: 1 << 20]}))
            for other in range(3):
                store.put_once(engine.state.layout.update("a", 1, f"{other:064x}"), b"")
            with pytest.raises(RequestRefusedError, match="has stored 3 updates"):
                await intake.update("a", sent)
            assert len(list(store.keys("updates/"))) == 3

    asyncio.run(run())


def test_a_close_that_was_decided_during_the_write_wins(tmp_path):
    async def run():
        store = SlowStore("a")
        async with collecting(tmp_path, store, quorum=1, grace_after_quorum_s=0.0, rounds=1) as (engine, intake):
            sent = envelope(engine, store, "a")
            slow = asyncio.create_task(intake.update("a", sent))
            await waited(store.reached)
            await intake.update("b", envelope(engine, store, "b"))
            await shown(engine, lambda: engine.state.tip.round == 1)
            store.go.set()
            with pytest.raises(RequestRefusedError) as told:
                await slow
            assert told.value.refusal.code == "StaleRound"
            assert [p.client for p in engine.state.tip.participants] == ["b"]
            manifest = engine.state.layout.manifest("a", sent.body.round, sent.body.attempt)
            assert manifest not in list(store.keys("updates/"))

    asyncio.run(run())


def test_of_two_updates_of_one_site_one_counts(tmp_path):
    async def run():
        store = SlowStore("a")
        async with collecting(tmp_path, store) as (engine, intake):
            first = asyncio.create_task(intake.update("a", envelope(engine, store, "a", "1")))
            await waited(store.reached)
            second = asyncio.create_task(intake.update("a", envelope(engine, store, "a", "2")))
            await asyncio.sleep(0.05)
            assert not second.done()
            store.go.set()
            await first
            with pytest.raises(RequestRefusedError) as told:
                await second
            assert told.value.refusal.code == "Duplicate"
            assert engine.state.current.accepted["a"].nonce == "1" * 16

    asyncio.run(run())


def test_the_gauge_of_the_round_knows_what_was_committed_before_the_start(tmp_path):
    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store, quorum=1, grace_after_quorum_s=0.0, rounds=9) as (engine, intake):
            await intake.update("a", envelope(engine, store, "a"))
            await shown(engine, lambda: engine.state.tip.round == 1)
        metrics.ROUND.set(0)  # as in a new process
        with ThreadPoolExecutor(4) as pool:
            await Engine(
                store,
                Payloads(store, bytes(32)),
                ConfigFile(tmp_path / "job.json", "uid"),
                steady_clock(),
                pool,
                1.0,
                bytes(32),
            ).start()
            assert metrics.ROUND.collect()[0].samples[0].value == 1

    asyncio.run(run())


def test_sites_are_counted_when_the_gauges_are_read(tmp_path):
    async def run():
        async with collecting(tmp_path, SlowStore("nobody")) as (engine, _):
            await engine.heard("b", Speech(protocol=PROTOCOL + 1, oldest=PROTOCOL + 1))
            assert metrics.SITES_CONNECTED.collect()[0].samples[0].value == 2
            assert metrics.SITES_INCOMPATIBLE.collect()[0].samples[0].value == 1

    asyncio.run(run())


def test_who_was_just_heard_is_taken_note_of_again_only_with_something_new(tmp_path):
    async def run():
        async with collecting(tmp_path, SlowStore("nobody")) as (engine, _):
            now = engine.clock()
            engine.clock = lambda: now
            speech = Speech(protocol=PROTOCOL, oldest=PROTOCOL)
            await engine.heard("b", speech)
            before = engine.state
            await engine.heard("b", speech)
            await engine.heard("b")
            assert engine.state is before
            await engine.heard("b", Speech(protocol=PROTOCOL + 1, oldest=PROTOCOL + 1))
            assert engine.state.site("b").speech.protocol == PROTOCOL + 1
            now += 1.5
            await engine.heard("b")
            assert engine.state.site("b").heard_at == now
            assert engine.state.site("b").speech.protocol == PROTOCOL + 1

    asyncio.run(run())


def test_the_gauge_of_the_attempt_follows_the_state(tmp_path):
    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store, deadline_s=0.3, quorum=2, max_failures=9) as (engine, intake):
            await intake.update("a", envelope(engine, store, "a"))
            await shown(engine, lambda: engine.state.attempt > 1)
            assert metrics.ATTEMPT.collect()[0].samples[0].value == engine.state.attempt

    asyncio.run(run())


@pytest.mark.parametrize("error", [UnfitStoreError("there is no such bucket"), MissingError("it is gone")])
def test_a_store_that_cannot_be_looked_at_has_the_site_send_again(tmp_path, error):
    def fails(_upload):
        raise error

    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store) as (engine, intake):
            intake._delivery.arrived = fails
            with pytest.raises(RequestRefusedError) as told:
                await intake.update("a", envelope(engine, store, "a"))
            assert told.value.refusal.code == "StoreFull"
            assert not engine.state.current.failed

    asyncio.run(run())


def test_a_round_that_is_gone_back_to_is_looked_for_after_what_is_being_deleted(tmp_path, monkeypatch):
    """Else it could be found whole, become HEAD, and lose its model to a deletion that began before it was sought."""

    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store) as (engine, _):
            asked, done, looked = RollbackTo(round=0), [], threading.Event()

            def discard(_):
                looked.wait(0.5)  # as long as one that does not wait would need to overtake
                done.append("deleted")

            def answer(*_):
                looked.set()
                done.append("looked")
                return RoundLost(engine.clock(), asked, "it is gone")

            monkeypatch.setattr(engine.interpreter, "discard", discard)
            monkeypatch.setattr(engine.interpreter, "answer", answer)
            await engine._perform_all((Discard(0, frozenset()), FindRound(asked)))
            await waited(looked)
            assert done == ["deleted", "looked"]

    asyncio.run(run())


class Emptied:
    """A delivery whose store never has what sites hand in; it counts how often it was asked."""

    def __init__(self):
        self.asked = 0

    def arrived(self, upload):
        self.asked += 1
        raise RequestRefusedError(Refusal(code="Missing", message="it was not uploaded"))


def test_the_store_is_not_asked_without_end_for_what_a_site_never_uploads(tmp_path):
    async def run():
        store = SlowStore("nobody")
        async with collecting(tmp_path, store) as (engine, _):
            delivery = Emptied()
            beside = Intake(engine, store, Payloads(store, bytes(32)), delivery)
            before = metrics.REFUSALS.labels("Busy")._value.get()
            codes = []
            for _ in range(MISSES + 5):
                with pytest.raises(RequestRefusedError) as caught:
                    await beside.update("a", envelope(engine, store, "a"))
                codes.append(caught.value.refusal.code)
            assert codes == ["Missing"] * MISSES + ["Busy"] * 5
            assert delivery.asked == MISSES
            assert "look at the site's way to the store" in caught.value.refusal.message
            assert metrics.REFUSALS.labels("Busy")._value.get() == before + 5
            with pytest.raises(RequestRefusedError, match="not uploaded"):
                await beside.update("b", envelope(engine, store, "b"))  # another site is asked for

    asyncio.run(run())


def narrow_update(engine: Engine, site: str, rows: int) -> HandedUpdate:
    """With the update in the message."""
    data = save({"w": np.ones(rows, np.float32)})
    handed = envelope(engine, MemoryStore(), site)
    ref = ObjectRef(
        key=engine.state.layout.update(site, 1, found := hashlib.sha256(data).hexdigest()), sha256=found, size=len(data)
    )
    body = handed.body.model_copy(update={"payloads": {"update": Payload(object=ref)}})
    return HandedUpdate(body=body, content={"update": data})


def test_an_update_has_the_shape_of_its_site_s_sub_model(tmp_path):
    """Site a trains half of the model, b all of it; the initial model says what half is."""

    async def run():
        store = SlowStore("nobody")
        roster = (RosterEntry(name="a", override=0), RosterEntry(name="b"))
        config = rules.config("ab").model_copy(
            update={"roster": roster, "overrides": (TrainingOverride(model_width=0.5),)}
        )
        said = {"fedloom": json.dumps({"widths": {"0.5": {"w": [2]}}})}
        async with collecting(
            tmp_path, store, config=config, initial=save({"w": np.zeros(4, np.float32)}, said)
        ) as both:
            engine, intake = both
            with pytest.raises(
                RequestRefusedError, match=r"modelWidth 0\.5: tensor 'w' is F32\[4\], the base has F32\[2\]"
            ):
                await intake.update("a", narrow_update(engine, "a", 4))
            assert "a: WrongShape" in engine.state.void[0].message, "it would only send it again"
            with pytest.raises(
                RequestRefusedError, match=r"fit its base: tensor 'w' is F32\[2\], the base has F32\[4\]"
            ):
                await intake.update("b", narrow_update(engine, "b", 2))

    asyncio.run(run())


def test_a_narrow_and_a_whole_update_make_the_model_in_which_they_overlap(tmp_path):
    async def run():
        store = SlowStore("nobody")
        roster = (RosterEntry(name="a", override=0), RosterEntry(name="b"))
        config = rules.config("ab").model_copy(
            update={"roster": roster, "overrides": (TrainingOverride(model_width=0.5),)}
        )
        said = {"fedloom": json.dumps({"widths": {"0.5": {"w": [2]}}})}
        async with collecting(
            tmp_path, store, config=config, initial=save({"w": np.zeros(4, np.float32)}, said)
        ) as both:
            engine, intake = both
            for site, rows in (("a", 2), ("b", 4)):
                assert not (await intake.update(site, narrow_update(engine, site, rows))).duplicate
            await shown(engine, lambda: engine.state.tip.round == 1)
            assert load(store.get(engine.state.tip.model.key))["w"].tolist() == [1.0] * 4
            assert engine.state.tip.initial is not None

    asyncio.run(run())
