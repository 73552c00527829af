"""The publisher: its own faults, and a status that is refused, end the process."""

import asyncio
import contextlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import fedaggregator.publisher as publisher_module
from fedaggregator.bucketcheck import BucketCheck
from fedaggregator.clock import steady_clock
from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import FatalError, StatusUnavailableError
from fedaggregator.patience import Patience
from fedaggregator.publisher import Publisher
from fedapi.outcome import Exit
from fedcore.rounds.state import End, Phase
from fedstore.care.wanted import Finding
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.waiting import PATIENCE_S


class BrokenSink:
    """A sink with a fault of its own, not one of the network."""

    def publish(self, status):
        raise KeyError("resourceVersion")

    def heard(self, client, ago_s):
        raise AssertionError(client)


class RefusingSink:
    """A sink that is answered with a code."""

    def __init__(self, status, lease=0, until=10**9):
        self.codes, self.calls, self.until = (status, lease), 0, until

    def publish(self, status):
        self._answer(self.codes[0])

    def heard(self, client, ago_s):
        self._answer(self.codes[1])

    def _answer(self, code):
        self.calls += 1
        if code and self.calls < self.until:
            raise StatusUnavailableError(f"{code} Unauthorized", code)


def ends_with(tmp_path, sink, act=None):
    """Runs an engine with its publisher; until both end, or the sink was called often enough."""
    (tmp_path / "job.json").write_text(rules.config().model_dump_json())

    async def run():
        config = ConfigFile(tmp_path / "job.json", "uid")
        with ThreadPoolExecutor(1) as pool:
            engine = Engine(
                MemoryStore(), Payloads(MemoryStore(), bytes(32)), config, steady_clock(), pool, 1.0, bytes(32)
            )
            await engine.start()
            publisher = Publisher(engine, sink)
            publishing = asyncio.create_task(publisher.run())
            serving = asyncio.create_task(act(publisher, engine) if act else asyncio.sleep(600))
            try:
                async with asyncio.timeout(60):
                    await engine.run(serving, publishing)
            finally:
                serving.cancel()

    asyncio.run(run())


def test_the_process_ends_with_its_publisher(tmp_path):
    with pytest.raises(KeyError):
        ends_with(tmp_path, BrokenSink())


@pytest.mark.parametrize("code", [401, 403, 404, 422])
def test_the_process_ends_when_its_status_stays_refused(tmp_path, monkeypatch, code):
    monkeypatch.setattr(publisher_module, "Patience", lambda clock: Patience(clock, patience_s=0.0))
    with pytest.raises(FatalError, match=f"may not be written.*{code}") as told:
        ends_with(tmp_path, RefusingSink(code))
    assert told.value.code is Exit.STATUS_REFUSED


@pytest.mark.parametrize(("code", "fatal"), [(401, True), (403, False), (500, False), (0, False)])
def test_a_void_token_is_noticed_by_heartbeats_and_the_right_to_one_lease_is_not(tmp_path, monkeypatch, code, fatal):
    monkeypatch.setattr(publisher_module, "Patience", lambda clock: Patience(clock, patience_s=0.0))
    sink = RefusingSink(0, lease=code)

    async def act(publisher, engine):
        publisher.heard("a")
        await publisher._heartbeats._renewing
        if fatal:
            await asyncio.sleep(600)

    with pytest.raises(FatalError) if fatal else contextlib.nullcontext():
        ends_with(tmp_path, sink, act)


class Kept:
    """Keeps what is published."""

    def __init__(self):
        self.told = queue.Queue()

    def publish(self, status):
        self.told.put(status)

    async def next(self):
        return await asyncio.to_thread(self.told.get, timeout=PATIENCE_S)


def finish(engine):
    end = End("Succeeded", "RoundsCompleted", "", 30.0)
    engine._show(replace(engine.state, phase=Phase.FINISHED, end=end))
    engine.news.set()


@pytest.mark.parametrize("ends", [finish, Engine.stop])
def test_the_end_is_told_at_once_however_long_a_status_takes(tmp_path, monkeypatch, ends):
    (tmp_path / "job.json").write_text(rules.config().model_dump_json())
    monkeypatch.setattr(publisher_module, "_SHARE", 1e12)
    sink = Kept()

    async def run():
        with ThreadPoolExecutor(1) as pool:
            store, config = MemoryStore(), ConfigFile(tmp_path / "job.json", "uid")
            engine = Engine(
                store,
                Payloads(store, bytes(32)),
                config,
                steady_clock(),
                pool,
                store_retry_s=1.0,
                ledger_seed=bytes(32),
            )
            await engine.start()
            publishing = asyncio.create_task(Publisher(engine, sink).run())
            await sink.next()
            ends(engine)
            if ends is finish:
                assert "outcome" in await sink.next()
            engine.stop()
            async with asyncio.timeout(30):
                await publishing
            engine.close()

    asyncio.run(run())


def test_the_first_status_has_what_the_first_look_at_the_bucket_found(tmp_path, monkeypatch):
    """Without it a restarted aggregator would take back what the one before had found."""
    (tmp_path / "job.json").write_text(rules.config().model_dump_json())
    monkeypatch.setattr(publisher_module, "_FIRST_LOOK_S", 600.0)
    sink, may_look = Kept(), threading.Event()

    def look():
        assert may_look.wait(PATIENCE_S)
        return (Finding("versions are kept", "Versioning", "missing", "what is deleted is gone"),)

    async def run():
        with ThreadPoolExecutor(1) as pool:
            store, config = MemoryStore(), ConfigFile(tmp_path / "job.json", "uid")
            engine = Engine(
                store,
                Payloads(store, bytes(32)),
                config,
                steady_clock(),
                pool,
                store_retry_s=1.0,
                ledger_seed=bytes(32),
            )
            await engine.start()
            bucket = BucketCheck(look, engine.news.set, engine.clock)
            checking = asyncio.create_task(bucket.run())
            publishing = asyncio.create_task(Publisher(engine, sink, bucket).run())
            may_look.set()
            first = await sink.next()
            assert [each["requirement"] for each in first["storage"]["findings"]] == ["versions are kept"]
            checking.cancel()
            engine.stop()
            async with asyncio.timeout(30):
                await publishing
            engine.close()

    asyncio.run(run())
