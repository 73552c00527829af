"""The file of a job's history: made of one row at a time, and written in the end, whatever the store does meanwhile."""

import asyncio
import threading
import weakref
from types import SimpleNamespace

import pytest

from fedaggregator.engine import historyfile
from fedaggregator.engine.historyfile import HistoryFile
from fedapi.wire.layout import Layout
from fedcore.rounds.state import Phase
from fedstore import historyrows
from fedstore.errors import HistoryDamagedError, StoreFailedError
from fedstore.memory import MemoryStore
from tests.waiting import PATIENCE_S


class Row:
    def __init__(self, number):
        self._number = number

    def line(self):
        return f'{{"round":{self._number}}}'


def test_of_a_long_job_no_more_than_a_few_rows_are_in_memory(monkeypatch):
    alive, most = weakref.WeakSet(), []

    def newest_first(*_):
        for number in (3, 2, 1, 0):
            alive.add(row := Row(number))
            most.append(len(alive))
            yield row

    monkeypatch.setattr(historyrows, "newest_first", newest_first)
    store, layout = MemoryStore(), Layout("ns", "job", "uid")
    HistoryFile(store, layout, lambda: 0.0).write()
    assert store.head(layout.history).data == b'{"round":0}\n{"round":1}\n{"round":2}\n{"round":3}\n'
    assert max(most) <= 2


class Failing(MemoryStore):
    """Does not give its objects once."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error: Exception | None = error

    def head(self, key):
        error, self._error = self._error, None
        if error is not None:
            raise error
        return super().head(key)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.FINISHED])
@pytest.mark.parametrize(("error", "again"), [(StoreFailedError("away"), True), (HistoryDamagedError("lost"), False)])
def test_what_the_store_does_not_take_is_written_again_soon(phase, error, again):
    async def run(work):
        work()

    now = [100.0]
    store, layout = Failing(error), Layout("ns", "job", "uid")
    file = HistoryFile(store, layout, lambda: now[0])
    state = SimpleNamespace(history=(None,), site_evaluations={}, phase=phase)
    assert file.due(state) is (phase is Phase.FINISHED), "in a running job once a minute, at most"
    now[0] += 60.0
    assert file.due(state) is (phase is Phase.WAITING)
    assert not file.due(state)
    asyncio.run(file.written(run))
    assert not file.due(state), "a store that fails is not asked all the time"
    now[0] += 5.0
    assert file.due(state) is again, "what is damaged stays so"
    if again:
        asyncio.run(file.written(run))
        assert store.head(layout.history) is not None
    now[0] += 1000.0
    assert not file.due(state)


def test_a_process_that_ends_waits_no_longer_than_it_has(monkeypatch):
    """Of a store that takes a minute for each record."""
    now, store, layout = [100.0], MemoryStore(), Layout("ns", "job", "uid")
    file = HistoryFile(store, layout, lambda: now[0])
    read, ends = [], asyncio.Event()

    def newest_first(*_):
        for number in range(1000, -1, -1):
            read.append(number)
            if len(read) == 3:
                loop.call_soon_threadsafe(ends.set)
                stopped.wait(PATIENCE_S)
            now[0] += 60.0
            yield Row(number)

    async def ended():
        writing = asyncio.create_task(file.written(asyncio.to_thread))
        await ends.wait()
        over = asyncio.create_task(file.over())
        await asyncio.sleep(0)
        stopped.set()
        await asyncio.gather(writing, over)

    monkeypatch.setattr(historyrows, "newest_first", newest_first)
    stopped = threading.Event()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(ended())
    assert len(read) == 3
    assert store.head(layout.history) is None


def test_a_store_that_does_not_answer_holds_no_process_back(monkeypatch):
    monkeypatch.setattr(historyfile, "_LAST_S", 0.01)
    file = HistoryFile(MemoryStore(), Layout("ns", "job", "uid"), lambda: 0.0)

    async def ended():
        async with asyncio.timeout(PATIENCE_S):
            writing = asyncio.create_task(file.written(lambda _: asyncio.Event().wait()))
            await asyncio.sleep(0)
            await file.over()
            writing.cancel()

    asyncio.run(ended())
