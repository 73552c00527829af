"""kopf, embedded: its settings, its registry with two handlers per kind, and the coroutine that runs it.

Called by lifecycle.py. Handlers return None, raise nothing, and keep nothing in kopf.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from fedapi.jsonvalue import Json
from fedoperator.cluster.cache import Cache
from fedoperator.desired.kinds import LABEL_SELECTOR, WATCHED, Kind
from fedoperator.handlers.generators import Generators
from fedoperator.handlers.routing import keys_of
from fedoperator.handlers.session import Login, SessionMaker
from fedoperator.queueing import WorkQueue
from fedoperator.watch_health import Stream, WatchHealth

INACTIVITY_S = 90.0  # without even a bookmark; longer than a watch lasts, so that only a hanging one is cut
LIST_CHUNK = 250  # objects per page: bounds the memory of a start in a large cluster


def streams(namespaces: Iterable[str], kinds: Iterable[Kind] = WATCHED) -> list[Stream]:
    """Every watch that will run: each kind, in each namespace or in the whole cluster."""
    places: list[str | None] = [*namespaces] or [None]
    return [Stream(kind.kind, namespace) for kind in kinds for namespace in places]


class NoDiffs(kopf.DiffBaseStorage):  # type: ignore[misc]
    """Nothing here asks what changed, and copying every object to find out is half of kopf's work per event."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """What kopf would compare: nothing."""
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """What kopf compared last: nothing."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is written into objects."""


def watch_settings(reconnect_s: int, kinds: Iterable[Kind] = WATCHED) -> kopf.OperatorSettings:
    """Standalone, silent, and impatient with watches that hang."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.watching.server_timeout = reconnect_s
    settings.watching.inactivity_timeout = INACTIVITY_S
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = LIST_CHUNK
    settings.queueing.idle_timeout = 0.5
    settings.persistence.diffbase_storage = NoDiffs()
    for kind in kinds:
        if not kind.ours:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = LABEL_SELECTOR
    return settings


class Watches:
    """From events to cache and queue."""

    def __init__(self, cache: Cache, queue: WorkQueue, health: WatchHealth, kinds: tuple[Kind, ...] = WATCHED) -> None:
        self._cache = cache
        self._queue = queue
        self._health = health
        self._kinds = kinds

    def registry(self) -> kopf.OperatorRegistry:
        """Two handlers per kind: an index, for which kopf waits before anything else runs, and an event handler."""
        registry = kopf.OperatorRegistry()
        for kind in self._kinds:
            self._register(registry, kind)
        return registry

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        where = (kind.group, kind.version, kind.plural)

        async def seen(body: kopf.Body, **_: Any) -> None:
            self.take(dict(body) | {"kind": kind.kind, "apiVersion": kind.api_version})

        async def happened(event: kopf.RawEvent, **_: Any) -> None:
            self._queue.open()
            if event["type"] == "DELETED":
                self.gone(dict(event["object"]) | {"kind": kind.kind, "apiVersion": kind.api_version})

        kopf.index(*where, id=f"cache-{kind.plural}", registry=registry)(seen)
        kopf.on.event(*where, id=f"enqueue-{kind.plural}", registry=registry)(happened)

    def take(self, body: Json) -> None:
        """An object that is there."""
        if self._cache.put(body):
            self._enqueue(body)

    def gone(self, body: Json) -> None:
        """An object that is there no longer."""
        self._cache.remove(body)
        self._enqueue(body)

    def _enqueue(self, body: Json) -> None:
        for key in keys_of(body, self._cache):
            self._queue.add(key)

    async def run(
        self,
        login: Login,
        namespaces: tuple[str, ...],
        reconnect_s: int,
        stop: asyncio.Event,
        take_signals: Callable[[], None],
    ) -> None:
        """Watches until `stop`; raises when a watch cannot go on. `take_signals`: takes them back from kopf."""
        logging.getLogger("kopf").setLevel(logging.WARNING)
        registry = self.registry()
        sessions = SessionMaker(login, self._health, self._cache, self._enqueue)

        async def log_in(**_: Any) -> kopf.AiohttpSession:
            return sessions.session()

        kopf.on.login(registry=registry, id="login")(log_in)
        self._health.begin(streams(namespaces, self._kinds))
        stopped = asyncio.create_task(stop.wait())
        async with Generators() as generators:
            others = asyncio.all_tasks()
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=watch_settings(reconnect_s, self._kinds),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                identity="fedloom-operator",
            )
            take_signals()  # in the same turn of the loop in which kopf took them
            watching = asyncio.create_task(kopf.run_tasks(tasks, ignored=others))
            await asyncio.wait({stopped, watching}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                logging.getLogger("kopf").setLevel(logging.CRITICAL)  # it complains of requests that it cuts itself
            generators.end()
            for task in (stopped, watching):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
