"""A small model comes in the order once it is read, whole, and one that is not is left to its URL."""

import asyncio
import hashlib

import pytest

from fedaggregator.requests.smallmodel import SmallModel
from fedapi.wire.message import ObjectRef
from fedstore.memory import MemoryStore

DATA = b"a model"
REF = ObjectRef(key="models/a", sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))


class CountingStore(MemoryStore):
    reads = 0

    def get(self, key):
        self.reads += 1
        return super().get(key)


class Engine:
    async def blocking(self, function, *args):
        return await asyncio.to_thread(function, *args)


@pytest.mark.parametrize(
    ("stored", "most", "found"), [(DATA, 7, DATA), (DATA, 6, None), (b"another", 7, None), (None, 7, None)]
)
def test_what_an_order_brings(stored, most, found):
    async def run():
        store = CountingStore()
        if stored is not None:
            store.put_once(REF.key, stored)
        small = SmallModel(Engine(), store, most)
        assert small.content(REF) is None
        await asyncio.gather(*(small.read(REF) for _ in range(5)))
        assert small.is_ready(REF)
        assert small.content(REF) == found
        assert store.reads == (most >= REF.size)

    asyncio.run(run())


def test_the_newest_alone_is_held():
    async def run():
        store = MemoryStore()
        refs = [store.put_once(f"models/{name}", name.encode()) for name in "ab"]
        small = SmallModel(Engine(), store, 100)
        for ref in refs:
            await small.read(ref)
        assert [small.content(ref) for ref in refs] == [None, b"b"]
        assert not small.is_ready(refs[0])

    asyncio.run(run())
