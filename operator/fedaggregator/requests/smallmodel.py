"""The model that orders bring with them, where it is small: read once, as often as it is handed out. Used by sites.py."""

import asyncio
import hashlib

from fedaggregator.engine.engine import Engine
from fedapi.wire.message import ObjectRef
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore


class SmallModel:
    """The newest one alone, which is what all orders of a moment are about."""

    def __init__(self, engine: Engine, store: ObjectStore, most_bytes: int) -> None:
        self._engine, self._store, self._most_bytes = engine, store, most_bytes
        self._held: tuple[ObjectRef, bytes | None] | None = None
        self._reading = asyncio.Lock()

    def content(self, model: ObjectRef) -> bytes | None:
        """Its bytes; None: it is fetched by URL."""
        return self._held[1] if self._held is not None and self._held[0] == model else None

    def is_ready(self, model: ObjectRef) -> bool:
        """Whether `content` knows it."""
        return model.size > self._most_bytes or (self._held is not None and self._held[0] == model)

    async def read(self, model: ObjectRef) -> None:
        """Makes it ready. One that cannot be read, or is damaged, is left to its URL, where the site finds it out."""
        async with self._reading:
            if not self.is_ready(model):
                self._held = (model, await self._engine.blocking(self._whole, model))

    def _whole(self, model: ObjectRef) -> bytes | None:
        try:
            data = self._store.get(model.key)
        except StoreError:
            return None
        return data if hashlib.sha256(data).hexdigest() == model.sha256 else None
