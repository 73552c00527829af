"""Deadlines do not run while sites can do nothing: their step is being made durable, or the hub lets nobody in yet."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.job import JobConfig
from fedapi.wire.secureround import SecureSaid
from fedcore.rounds import secureplan
from fedcore.rounds.events import InitialModelFound, Said, Ticked
from fedcore.secagg import site
from fedstore.memory import MemoryReader, MemoryStore
from fedstore.objectstore import DIGEST
from tests.unit.fedaggregator.engine.test_outage import Clock
from tests.unit.fedcore.rounds import masked_round
from tests.unit.fedcore.secagg.federation import signing_key

LONG_S = 1000.0  # beyond every deadline here


class SlowStore(MemoryStore):
    """It takes long to write some records, and to open models while they are held."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.slow, self.let = clock, "", threading.Event()
        self.let.set()

    def add(self, key: str, data: bytes, sha256: str) -> None:
        super().add(key, data, sha256)
        if self.slow and key.endswith(self.slow):
            self.clock.now += LONG_S

    @contextlib.contextmanager
    def reader(self, key: str):
        if key.startswith("models/"):
            assert self.let.wait(30)
        yield MemoryReader(key, self.get(key))


@pytest.fixture
def store():
    return SlowStore(Clock())


@contextlib.asynccontextmanager
async def started(folder, store: SlowStore, config: JobConfig) -> AsyncIterator[Engine]:
    """An engine whose time is the store's clock's; it has a model, and all sites were heard."""
    (folder / "job.json").write_text(config.model_dump_json())
    file = ConfigFile(folder / "job.json", config.uid)
    with ThreadPoolExecutor(4) as pool:
        engine = Engine(store, Payloads(store, bytes(32)), file, store.clock, pool, 1.0, bytes(32))
        try:
            async with asyncio.timeout(30):
                await engine.start()
                if engine.state.tip is None:
                    with store.writer(engine.state.layout.model(0, DIGEST)) as writer:
                        writer.write(save({"w": np.zeros(4, np.float32)}))
                        await engine.handle(InitialModelFound(engine.clock(), writer.finish()))
                for entry in config.roster:
                    await engine.heard(entry.name)
                await shown(engine, lambda: engine.state.current is not None)
                yield engine
        finally:
            store.let.set()
            engine.stop()
            engine.close()


async def shown(engine: Engine, fact) -> None:
    while not fact():
        await engine.news.wait()
        engine.news.clear()


async def advertise(engine: Engine, name: str) -> None:
    plan = engine.state.current.plan
    terms = secureplan.terms(plan, plan.secure)
    made = site.advertise(site.start(name, terms, terms.roster, name.encode() * 32), signing_key(name).sign)
    said = SecureSaid(round=plan.round, attempt=plan.attempt, samples=5, advertisement=made)
    await engine.handle(Said(engine.clock(), name, said))


async def attempt(engine: Engine) -> int:
    """The round's, once it is seen what time it is."""
    await engine.handle(Ticked(engine.clock()))
    return engine.state.attempt


def test_a_step_begins_when_the_record_of_the_one_before_is_durable(tmp_path, store):
    async def run():
        async with started(tmp_path, store, masked_round.config("abc")) as engine:
            store.slow = "secure-participants.json"
            for name in "abc":
                await advertise(engine, name)
            assert await attempt(engine) == 1
            store.clock.now += masked_round.TIMEOUT_S - 1
            assert await attempt(engine) == 1
            store.clock.now += 2
            assert await attempt(engine) == 2, "nobody has shared in time"

    asyncio.run(run())


def test_an_attempt_begins_when_its_plan_is_durable(tmp_path, store):
    async def run():
        store.slow = "plan.json"
        async with started(tmp_path, store, masked_round.config("abc", secure=None, identities={})) as engine:
            assert await attempt(engine) == 1
            store.clock.now += engine.state.config.deadline_s + 1
            assert await attempt(engine) == 2

    asyncio.run(run())


def test_no_deadline_runs_while_the_model_is_read_after_a_restart(tmp_path, store):
    async def run():
        config = masked_round.config("abc", secure=None, identities={})
        async with started(tmp_path, store, config):
            pass
        store.let.clear()
        async with started(tmp_path, store, config) as engine:
            assert engine.unready
            store.clock.now += LONG_S
            assert await attempt(engine) == 1
            store.let.set()
            await engine.check_model()  # the one that is under way
            assert not engine.unready
            assert await attempt(engine) == 1
            store.clock.now += config.deadline_s + 1
            assert await attempt(engine) == 2

    asyncio.run(run())
