"""The thread that reads the registry: sites that changed are looked at, and new ones become FLClients by policy.

Started by lifecycle.py on the replica that acts. An FLClient that exists is never changed here, whoever made it, and none is
deleted: creations alone, some at a time, and each refused one is left alone for a while.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from time import monotonic

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.registry import Site
from fedoperator.cluster.cache import Cache
from fedoperator.desired.registered_client import Allowed, registered_client
from fedoperator.errors import GoneError, OperatorError, RefusedError, RetryLaterError
from fedoperator.queueing import WorkKey, WorkQueue
from fedoperator.site_registry import SiteRegistry

log = logging.getLogger(__name__)
MADE_AT_ONCE = 300  # FLClients per reading: each one is a Lease and a status on top
REFUSED_AGAIN_S = 600.0


class Registration:
    """One thread."""

    def __init__(
        self,
        registry: SiteRegistry,
        cache: Cache,
        queue: WorkQueue,
        create: Callable[[Json], None],
        policy: Collection[Allowed],
        namespaces: Collection[str],
        every_s: float,
    ) -> None:
        self._registry, self._cache, self._queue, self._create = registry, cache, queue, create
        self._policy, self._namespaces, self._every_s = policy, namespaces, every_s
        self._before: Mapping[str, Site] = {}
        self._refused: dict[str, float] = {}  # client id -> when to try again
        self._silent = ""
        self._stop = threading.Event()

    def start(self) -> None:
        """Begins."""
        threading.Thread(target=self._run, name="registration", daemon=True).start()

    def stop(self) -> None:
        """Ends after the reading under way."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
                self._said("")
            except RetryLaterError as error:
                self._said(str(error))
            except Exception:
                log.exception("a reading of the registry failed")
            self._stop.wait(self._every_s)

    def look(self) -> None:
        """One reading."""
        sites = self._registry.read()
        changed = [key for key in sites.keys() | self._before.keys() if _told(sites, key) != _told(self._before, key)]
        for client_id in changed:
            namespace, _, name = client_id.partition("/")
            self._queue.add(WorkKey(namespace, names.CLIENT_KIND, name))
        self._before = sites
        self._make(sites)

    def _make(self, sites: Mapping[str, Site]) -> None:
        left, now = MADE_AT_ONCE, monotonic()
        for client_id, site in sorted(sites.items()):
            namespace, _, name = client_id.partition("/")
            if self._namespaces and namespace not in self._namespaces:
                continue
            if site.status == "Expired" or self._cache.get(names.CLIENT_KIND, namespace, name) is not None:
                continue
            manifest = registered_client(site, self._policy)
            if manifest is None or now < self._refused.get(client_id, 0.0):
                continue
            if left == 0 or self._stop.is_set():
                return
            left -= 1
            self._made(client_id, manifest)

    def _made(self, client_id: str, manifest: Json) -> None:
        try:
            self._create(manifest)
            log.info("made the FLClient of a registered site", extra={"fields": {"site": client_id}})
        except RetryLaterError as error:
            if not error.conflict:  # else a person was faster, and the watch will tell
                raise
        except (RefusedError, GoneError) as error:
            self._refused[client_id] = monotonic() + REFUSED_AGAIN_S
            log.warning(
                "no FLClient for a registered site", extra={"fields": {"site": client_id, "reason": str(error)}}
            )
        except OperatorError as error:
            raise RetryLaterError(str(error)) from error

    def _said(self, why: str) -> None:
        if why and why != self._silent:
            log.warning("the registry was not read", extra={"fields": {"reason": why}})
        elif self._silent and not why:
            log.info("the registry is read again")
        self._silent = why


def _told(sites: Mapping[str, Site], client_id: str) -> object:
    """What of a site changes its FLClient's status, and is not a matter of time alone."""
    site = sites.get(client_id)
    return None if site is None else (site.status, site.capability)
