"""Generators inside each other, as kopf's watches are, whose reader is cancelled between two events."""

import asyncio
import contextlib
import gc

import pytest

from fedoperator.handlers.generators import Generators


class Watch:
    """An endless stream in a context, read by a task that is busy with an event."""

    def __init__(self):
        self.ended, self.busy, self.all_ended = [], asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def block(self):
        try:
            yield
        finally:
            await asyncio.sleep(0)
            self.ended.append("block")

    async def lines(self):
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            self.ended.append("lines")
            self.all_ended.set()

    async def events(self):
        try:
            while True:
                async with self.block():
                    async for line in self.lines():
                        yield line
        finally:
            await asyncio.sleep(0)
            self.ended.append("events")

    async def read(self):
        async for _ in self.events():
            self.busy.set()
            await asyncio.sleep(600)


async def cancelled(watch, *, kept):
    """The reader's task, which keeps its generators alive, or None where they are dropped."""
    task = asyncio.create_task(watch.read())
    await watch.busy.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    if kept:
        return task
    del task
    gc.collect()
    return None


@pytest.mark.parametrize("kept", [True, False])
def test_they_are_closed_from_the_outside_in_and_the_loop_has_nothing_to_complain_of(kept):
    complaints, ended = [], []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        watches = [Watch() for _ in range(3)]
        async with Generators() as generators:
            for watch in watches:
                await watch.events().aclose()  # one that was never begun
            generators.end()
            tasks = [await cancelled(watch, kept=kept) for watch in watches]
        ended.extend(watch.ended for watch in watches)
        assert len(tasks) == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert complaints == []
    assert ended == [["block", "events", "lines"]] * 3


def test_what_is_dropped_before_the_end_is_the_loops():
    async def run():
        watch = Watch()
        async with Generators():
            async for _ in watch.events():
                break
            gc.collect()
            async with asyncio.timeout(60):
                await watch.all_ended.wait()
        assert watch.ended == ["block", "events", "lines"]

    asyncio.run(run())
