"""The life of the operator process: probes, election, watches, workers, and an orderly end.

Called by __main__. Wires everything together and decides nothing. Ends with 0 on SIGTERM, with 1 when it cannot go
on: the Lease was lost, a watch failed for good, credentials were refused. Kubernetes then starts it anew.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fedapi import names
from fedoperator.backup_readings import backup_readings
from fedoperator.cluster.apply import Applier
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.connection import Connection
from fedoperator.cluster.issued import IssuedCertificates
from fedoperator.cluster.leadership import Election
from fedoperator.cluster.observe import Observer
from fedoperator.cluster.podevents import PodEvents
from fedoperator.cluster.registry_secret import RegistrySecret
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.cluster.writes import Writer
from fedoperator.decide.client import decide_client
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import ClientCondition
from fedoperator.desired.kinds import CLIENT, JOB, JOBSET, OPTIONAL, WATCHED, Kind
from fedoperator.errors import GoneError, OperatorError, RefusedError, RetryLaterError
from fedoperator.handlers.runtime import Watches, streams
from fedoperator.metrics import BackupReading, Metrics
from fedoperator.probes import METRICS_TEXT, serve, verdict
from fedoperator.queueing import WorkQueue
from fedoperator.reconcile import Reconciler
from fedoperator.refusals import Refusals
from fedoperator.registration import Registration
from fedoperator.settings import OperatorSettings
from fedoperator.site_registry import SiteRegistry
from fedoperator.storage_readings import storage_readings
from fedoperator.watch_health import WatchHealth
from fedoperator.workers import Workers

log = logging.getLogger(__name__)

STOP_WITHIN_S = 10.0  # for looks under way; below the pod's grace period
CRD_RETRY_S = 2.0
SECRET_RETRY_S = 10.0


class Operator:
    """One process."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._connection = Connection.open(settings.service_account_dir, connections=settings.workers + 2)
        self._cache = Cache()
        self._queue = WorkQueue()
        self._metrics = Metrics()
        self._health = WatchHealth(streams(settings.watch_namespaces), settings.watch_silence_s)
        count = self._metrics.wrote
        generations = settings.registry_generations if settings.registry_url else None
        lifetime = timedelta(seconds=settings.certificate_lifetime_s)
        issuer = settings.certificate_issuer.issuer()
        issued = IssuedCertificates(self._connection, issuer, lifetime, _now, count) if issuer else None
        self._credentials = SecretStore(
            self._connection, settings.namespace, settings.keys_secret, _now, count, generations, lifetime, issued
        )
        self._registry = SiteRegistry(settings.registry_url, self._credentials.keys)
        self._registry_secret = RegistrySecret(
            self._connection,
            settings.namespace,
            settings.registry_secret,
            settings.registry_hosts,
            _now,
            count,
            lifetime,
        )
        self._acting = threading.Event()
        self._kinds: tuple[Kind, ...] = WATCHED  # and what else the cluster has
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    async def run(self) -> int:
        """Until it is asked to end or cannot go on; the exit code."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._take_signals()
        self._serve()
        election = self._election()
        if await self._until_leading(election):
            await self._act()
        if election is not None:
            election.stop()
        log.info("ended", extra={"fields": {"reason": self._failure or "asked to"}})
        return 1 if self._failure else 0

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)

    def _serve(self) -> None:
        """Metrics first: who asks for them when this process is ready finds them."""
        self._metrics.watch(
            self._queue.depth,
            self._health.ages_s,
            self._phases,
            self._heard,
            self._registry.age_s,
            self._backups,
            lambda: storage_readings(self._cache.every(names.JOB_KIND)),
        )
        serve(self._settings.metrics_port, {"/metrics": lambda: (200, METRICS_TEXT, self._metrics.text())})
        health = {"/healthz": lambda: verdict(self._unhealthy()), "/readyz": lambda: verdict(self._unready())}
        serve(self._settings.probe_port, health)

    def _unhealthy(self) -> str:
        silent = self._health.silent()
        return f"no sign of life from the watch of {', '.join(silent)}" if silent else ""

    def _unready(self) -> str:
        if self._acting.is_set() and not self._health.synced():
            return "the first lists are not in yet"
        return self._unhealthy()

    def _phases(self) -> Iterable[str]:
        return ((job.get("status") or {}).get("phase") or "New" for job in self._cache.every(names.JOB_KIND))

    def _heard(self) -> Iterable[str]:
        for site in self._cache.every(names.CLIENT_KIND):
            told = (site.get("status") or {}).get("conditions") or ()
            yield next((c["reason"] for c in told if c["type"] == ClientCondition.CONNECTED), "New")

    def _backups(self) -> Iterable[BackupReading]:
        return backup_readings(self._cache.every(names.JOB_KIND), datetime.now(UTC))

    def _election(self) -> Election | None:
        if not self._settings.leader_election:
            return None
        election = Election(self._connection, self._settings, self._lost_lease)
        election.start()
        return election

    def _lost_lease(self) -> None:
        """At once: another replica may act already, and a write under way must not be followed by another."""
        log.error("the Lease was lost; ending")
        os._exit(1)

    async def _until_leading(self, election: Election | None) -> bool:
        """Waits for the Lease and for the custom resources; False when asked to end meanwhile."""
        while election is not None and not election.leading.is_set():
            if await self._stopped_within(0.2):
                return False
        while not await asyncio.to_thread(self._resources_exist):
            if await self._stopped_within(CRD_RETRY_S):
                return False
        while not await asyncio.to_thread(self._keys_known):
            if await self._stopped_within(CRD_RETRY_S):
                return False
        return True

    def _keys_known(self) -> bool:
        """Whether the installation's keys were read or made: names of Secrets depend on them."""
        try:
            self._credentials.keys()
        except (RetryLaterError, RefusedError, GoneError) as error:
            log.warning("waiting for the keys: %s", error)
            return False
        return True

    async def _keep_keys(self) -> None:
        """Puts the keys back when somebody deletes them; begins anew with others when somebody replaces them."""
        while not await self._stopped_within(self._settings.resync_s):
            try:
                replaced = await asyncio.to_thread(self._credentials.keep)
            except OperatorError as error:
                log.warning("the keys were not checked: %s", error)
                continue
            if replaced:
                self._cannot_go_on(replaced)

    async def _keep_registry_secret(self) -> None:
        """Makes and renews it; nothing of a job waits for it."""
        wait_s = 0.0
        while not await self._stopped_within(wait_s):
            wait_s = self._settings.resync_s
            try:
                await asyncio.to_thread(self._registry_secret.keep, self._credentials.keys())
            except OperatorError as error:
                wait_s = min(wait_s, SECRET_RETRY_S)
                log.warning("the registry's Secret was not written: %s", error)

    def _resources_exist(self) -> bool:
        """Whether our own resources exist. Looks for the optional ones too: once, so a restart finds later ones."""
        try:
            if not (self._served(JOB) and self._served(CLIENT)):
                log.warning("waiting for the custom resources")
                return False
            self._kinds = (*WATCHED, *(kind for kind in OPTIONAL if self._served(kind)))
        except RetryLaterError as error:
            log.warning("waiting for the custom resources: %s", error)
            return False
        return True

    def _served(self, kind: Kind) -> bool:
        try:
            found = self._connection.request("GET", f"/apis/{kind.api_version}")
        except GoneError:
            return False
        return kind.plural in {entry["name"] for entry in found["resources"]}

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    @property
    def _stopping(self) -> asyncio.Event:
        if self._stop is None:
            raise RuntimeError("run() has not begun")
        return self._stop

    async def _act(self) -> None:
        self._acting.set()
        self._metrics.leads(leads=True)
        log.info("acting", extra={"fields": {"jobset": JOBSET in self._kinds}})
        workers = Workers(
            self._queue, self._reconciler().look, self._metrics, self._settings.resync_s, self._cannot_go_on
        )
        workers.start(self._settings.workers)
        keeping = [asyncio.create_task(keep()) for keep in (self._keep_keys, self._keep_registry_secret)]
        registration = self._registration()
        if self._registry.exists:
            registration.start()
        watches = Watches(self._cache, self._queue, self._health, self._kinds)
        try:
            await watches.run(
                self._connection,
                self._settings.watch_namespaces,
                self._settings.watch_reconnect_s,
                self._stopping,
                self._take_signals,
            )
        except (OperatorError, RuntimeError, OSError, TimeoutError) as error:
            log.exception("the watches cannot go on")
            self._failure = self._failure or str(error)
        for task in keeping:
            task.cancel()
        registration.stop()
        await asyncio.to_thread(workers.stop, STOP_WITHIN_S)

    def _cannot_go_on(self, why: str) -> None:
        log.error("ending: %s", why)
        self._failure = why
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _writer(self) -> Writer:
        return Writer(self._connection, self._cache, self._metrics.wrote, self._settings.pod_name)

    def _registration(self) -> Registration:
        settings = self._settings
        policy = tuple(each.allowed() for each in settings.registry_clients)
        create = self._writer().register
        namespaces, every_s = settings.watch_namespaces, settings.registry_read_s
        return Registration(self._registry, self._cache, self._queue, create, policy, namespaces, every_s)

    def _reconciler(self) -> Reconciler:
        settings = self._settings
        refusals = Refusals()
        credentials = self._credentials
        issuer = settings.certificate_issuer.issuer()
        keys_id = credentials.keys().id + (f"/{issuer.id}" if issuer else "")
        decisions = replace(settings.for_decisions(), keys_id=keys_id)
        writer = self._writer()
        return Reconciler(
            cache=self._cache,
            observer=Observer(self._cache, decisions, jobset=JOBSET in self._kinds, registry=self._registry),
            applier=Applier(writer, credentials, refusals),
            credentials=credentials,
            refusals=refusals,
            pod_events=PodEvents(self._connection),
            decide_job=decide,
            decide_client=decide_client,
            now=_now,
        )


def _now() -> datetime:
    return datetime.now(UTC)
