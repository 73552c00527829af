"""`python -m fedaggregator`: puts settings, store, engine, status and server together, and ends with an exit code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from pydantic import ValidationError

from fedaggregator import allocator, bucketcheck, jsonlog, ledgerstatus, metrics, solewriter
from fedaggregator.adapters.certificates import Certified
from fedaggregator.adapters.guestagent import GuestAgent
from fedaggregator.adapters.presigned import PresignedUrls
from fedaggregator.adapters.statusfile import StatusFile
from fedaggregator.adapters.tokens import Tokens
from fedaggregator.bucketcheck import BucketCheck
from fedaggregator.clock import steady_clock
from fedaggregator.ending import ended
from fedaggregator.engine import recorded
from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.initial import InitialModel
from fedaggregator.engine.intake import Intake
from fedaggregator.engine.issues import Recorded
from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.telling import Telling
from fedaggregator.errors import FatalError, faults, store_failed
from fedaggregator.http.app import application
from fedaggregator.http.blobs import Blobs
from fedaggregator.http.certificate import Certificate
from fedaggregator.http.delivery import SignedUrls
from fedaggregator.http.initial import InitialRoutes
from fedaggregator.http.monitoring import Monitoring, routes
from fedaggregator.http.server import Server, server, unopened
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.http.sites import SiteRoutes
from fedaggregator.limits import Limits, within_open_files
from fedaggregator.ports import Attester, Delivery, SoleWriter, StatusSink
from fedaggregator.publisher import Publisher
from fedaggregator.queued import running
from fedaggregator.requests.entrusted import EntrustedStates
from fedaggregator.requests.sites import SiteRequests
from fedaggregator.requests.smallmodel import SmallModel
from fedaggregator.requests.unattested import Unattested
from fedaggregator.settings import Credentials, Settings, credentials
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.attestation import Tee
from fedapi.wire.layout import Layout
from fedapi.wire.tokens import blob_key, ledger_seed
from fedstore import many
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store
from fedstore.presigning import PresigningStore
from fedstore.residency import check_region

if TYPE_CHECKING:
    from fedaggregator.requests.attestation import Attestations

log = logging.getLogger("fedaggregator")
_THREADS = 4  # hash, disk and numpy; more would cost memory and gain nothing
_RETRY_S, _RETRY_FAR_S = 60.0, 3600.0  # before a store is given up
_TRANSFER_THREADS = 4  # TLS, hash and disk of large bodies: what the engine does need not wait for them


def main() -> int:
    """Runs until the end; the exit code is one of fedapi.outcome."""
    termination_log: Path | None = None
    allocator.give_buffers_back()
    try:
        settings, limits = Settings(), Limits()
        termination_log = settings.termination_log
        jsonlog.configure(settings.log_level, namespace=settings.namespace, job=settings.job, uid=settings.job_uid)
        log.info("settings", extra={"fields": settings.model_dump(mode="json")})
        limits = within_open_files(limits)
        log.info("limits", extra={"fields": limits.model_dump(mode="json")})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, limits))
    except ValidationError as error:
        return ended(Exit.BAD_SETTINGS, faults(error), termination_log)
    except FatalError as error:
        return ended(error.code, str(error), termination_log)
    except StoreError as error:
        failed = store_failed(error)
        return ended(failed.code, str(failed), termination_log)
    return Exit.OK


async def serve(settings: Settings, limits: Limits) -> None:
    """Serves one job until SIGTERM or a fatal error."""
    secrets = credentials(settings.credentials_dir)
    writer = solewriter.chosen(settings)
    _at_signals(partial(_end_before_serving, writer))  # to become the one writer, and recovery, may take their time
    store = open_store(settings.store, settings.store_credentials_dir, writer)
    config = ConfigFile(settings.config_file, settings.job_uid)
    await asyncio.to_thread(check_region, store, config.first().residency)
    layout = Layout(settings.namespace, settings.job, settings.job_uid)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking")
    hub_key = (
        os.urandom(32) if settings.tee else secrets.job_key
    )  # in a guest it is nobody else's, and ends with the process
    payloads = Payloads(store, hub_key)
    attestations = _attestations(settings, settings.tee, secrets, hub_key) if settings.tee else None
    retry_s, ledger = _store_retry_s(settings, store), ledger_seed(secrets.job_key)
    engine = Engine(store, payloads, config, steady_clock(), pool, retry_s, ledger)
    sink = _sink(settings)
    look = bucketcheck.look_at(settings.store, settings.store_credentials_dir, config.first().residency)
    check = BucketCheck(look, engine.news.set, engine.clock) if look else None
    checking = asyncio.create_task(check.run()) if check else None
    told = asyncio.create_task(ledgerstatus.told(sink, layout.ledger_origin))
    doors: list[Server] = []  # where sites come in, once it is there
    try:
        async with Monitoring(
            routes(lambda: _unready(engine, writer, doors), metrics.REGISTRY), settings.host, settings.monitoring_port
        ):
            await solewriter.begun(writer, lambda: store.head(layout.head) is not None, engine)
            parts = (f"{layout.models()}/", f"{layout.hub_states()}/")  # what comes in parts
            await engine.blocking(store.clean, parts)
            attested = await attestations.first(settings.tee_verifier) if attestations else None
            await engine.start(told)
            if attested:
                recorded.attested(engine.ledger, attested)
            telling = Telling(engine, settings.config_file.with_name(names.RELEASE_FILE))
            publisher = Publisher(engine, sink, check, attested, telling)
            tells = asyncio.create_task(telling.run())
            try:
                await _serve(
                    engine, store, payloads, settings, limits, secrets, publisher, attestations or Unattested(), doors
                )
            finally:
                tells.cancel()
    finally:
        told.cancel()
        if checking is not None:
            checking.cancel()
        engine.stop()
        pool.shutdown(cancel_futures=True)
        engine.close()
        if writer is not None:
            writer.release()  # when nothing is written any more


async def _serve(
    engine: Engine,
    store: ObjectStore,
    payloads: Payloads,
    settings: Settings,
    limits: Limits,
    secrets: Credentials,
    publisher: Publisher,
    attester: Attester,
    doors: list[Server],
) -> None:
    """Serves sites from a state that is recovered."""
    urls = UrlSigner(blob_key(secrets.job_key), settings.public_url, settings.url_lifetime_s)
    delivery: Delivery = SignedUrls(urls, store, engine.clock)
    if is_bucket := isinstance(store, PresigningStore):
        delivery = PresignedUrls(store, engine.clock, settings.url_lifetime_s)
        limits = limits.model_copy(update={"inline_bytes": 0})  # tensors pass by the store alone
    delivery = Recorded(delivery, engine.issues)
    delivery = running.looked_at(settings, delivery, store, engine)
    intake = Intake(engine, store, payloads, delivery)
    initial = InitialModel(engine, store, delivery)
    identity = Certified(
        Tokens(secrets.job_key),
        settings.job_uid,
        lambda: engine.state.config.certificates == "Required",
        engine.clock,
    )
    small = SmallModel(engine, store, limits.inline_bytes)
    entrusted = EntrustedStates(engine, store, delivery)
    requests = SiteRequests(engine, intake, publisher, delivery, payloads, small, limits, entrusted, attester)
    sites = SiteRoutes(requests, identity, limits)
    transfers = ThreadPoolExecutor(_TRANSFER_THREADS, thread_name_prefix="transfer")
    blobs = Blobs(engine, intake, initial, store, urls, limits, transfers, payloads.fingerprints, identity)
    certificate = Certificate(secrets.certificate, secrets.private_key, secrets.ca)
    app = application(sites, InitialRoutes(initial, identity, limits), None if is_bucket else blobs)
    https = server(app, settings.host, settings.port, certificate, limits)
    doors.append(https)
    _at_signals(engine.stop)
    publishing = asyncio.create_task(publisher.run())
    serving = asyncio.create_task(https.serve())
    try:
        async with running.queues(settings, engine, publisher, requests, delivery, secrets.job_key):
            await engine.run(serving, publishing)
    finally:
        engine.stop()
        await https.stopped(serving)
        await engine.ledger.over(engine.under_lock)
        await publishing
        await engine.history.over()
        transfers.shutdown(cancel_futures=True)


def _at_signals(act: Callable[[], object]) -> None:
    """What SIGTERM and SIGINT do from now on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, act)


def _end_before_serving(writer: SoleWriter | None) -> None:
    """Ends the process at once: nobody was told anything, and no thread that waits for a store is waited for."""
    log.info("ended as it was asked to, before it served")
    if writer is not None:
        writer.release()
    os._exit(Exit.OK)


def _attestations(settings: Settings, tee: Tee, secrets: Credentials, hub_key: bytes) -> "Attestations":
    """Who gives evidence, where the job asks for a trusted execution environment."""
    from fedaggregator.requests import attestation  # noqa: PLC0415 - 10 MB where nobody asks for it

    vouched = attestation.Vouched(settings.job_uid, tee, secrets.certificate, attestation.update_keys(hub_key))
    return attestation.Attestations(vouched, GuestAgent(settings.tee_agent))


def _store_retry_s(settings: Settings, store: ObjectStore) -> float:
    if settings.store_retry_s is not None:
        return settings.store_retry_s
    return _RETRY_FAR_S if many.is_far(store) else _RETRY_S


def _unready(engine: Engine, writer: SoleWriter | None, doors: list[Server]) -> str:
    """Why sites may not come yet: another writes the store, it was not found whole, nobody listens yet, or the process ends."""
    if engine.stopping:
        return "stopping"
    return (writer.waits_for if writer else "") or engine.unready or unopened(doors)


def _sink(settings: Settings) -> StatusSink:
    if settings.status.startswith("file:"):
        return StatusFile(Path(settings.status.removeprefix("file:")))
    if settings.status == "kubernetes":
        from fedaggregator.adapters.kubernetes import KubernetesStatus  # noqa: PLC0415 - costs 100 MB where it is not used

        return KubernetesStatus(settings.namespace, settings.job, settings.job_uid)
    raise FatalError(Exit.BAD_SETTINGS, f"{names.ENV_STATUS}={settings.status!r}: must be 'kubernetes' or 'file:PATH'")


if __name__ == "__main__":
    sys.exit(main())
