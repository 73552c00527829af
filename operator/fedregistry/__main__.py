"""`python -m fedregistry`: puts settings, table, routes and server together, and ends with an exit code."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop
from pydantic import ValidationError

from fedaggregator import jsonlog
from fedaggregator.ending import ended
from fedaggregator.errors import FatalError, faults
from fedaggregator.http.certificate import Certificate
from fedaggregator.http.monitoring import Monitoring
from fedaggregator.http.monitoring import routes as monitoring_routes
from fedaggregator.http.server import Server, server, unopened
from fedaggregator.limits import Limits, within_open_files
from fedapi import names
from fedapi.outcome import Exit
from fedregistry.backups import Backups
from fedregistry.identity import Tokens
from fedregistry.metrics import REGISTRY
from fedregistry.readings import Readings
from fedregistry.routes import Routes
from fedregistry.settings import Settings
from fedstore.dynamobackup import TableBackups
from fedstore.dynamodb import DynamoSites
from fedstore.errors import StoreError, UnfitStoreError

log = logging.getLogger("fedregistry")
_THREADS = 8  # writes of the table at once
_LOOK_S = 5.0  # between two looks at the generations of tokens
_RETRY_S = 5.0


def main() -> int:
    """Runs until SIGTERM; the exit code is one of fedapi.outcome."""
    try:
        settings = Settings()
        jsonlog.configure(settings.log_level, registry=settings.table)
        log.info("settings", extra={"fields": settings.model_dump(mode="json")})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, within_open_files(Limits())))
    except ValidationError as error:
        return ended(Exit.BAD_SETTINGS, faults(error), None)
    except FatalError as error:
        return ended(error.code, str(error), None)
    except UnfitStoreError as error:
        return ended(Exit.STORE_UNFIT, str(error), None)
    return Exit.OK


async def serve(settings: Settings, limits: Limits) -> None:
    """Serves heartbeats once the table is found to be as it must be."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    tokens = Tokens(_key(settings.credentials_dir), settings.generations_file)
    registry = DynamoSites.open(settings.table, settings.region, settings.endpoint, settings.table_credentials_dir)
    missing, doors = ["the table was not looked at yet"], list[Server]()  # where sites come in, once it is there
    unready = monitoring_routes(lambda: missing[0] if missing else unopened(doors), REGISTRY)
    async with Monitoring(unready, settings.host, settings.monitoring_port):
        try:
            if await _table_fits(registry, settings, missing, stopping):
                missing.clear()
                await _serve(registry, tokens, settings, limits, stopping, doors)
        finally:
            registry.close()


async def _table_fits(registry: DynamoSites, settings: Settings, missing: list[str], stopping: asyncio.Event) -> bool:
    """Waits for a table that can be looked at; UnfitStoreError when it does not fit. False when asked to end meanwhile."""
    while not stopping.is_set():
        try:
            if settings.create_table:
                await asyncio.to_thread(registry.create)
            await asyncio.to_thread(registry.check)
        except UnfitStoreError:
            raise
        except StoreError as error:
            missing[0] = str(error)
            log.warning("waiting for the table", extra={"fields": {"reason": str(error)}})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _RETRY_S)
        else:
            return True
    return False


async def _serve(
    registry: DynamoSites,
    tokens: Tokens,
    settings: Settings,
    limits: Limits,
    stopping: asyncio.Event,
    doors: list[Server],
) -> None:
    readings = Readings(registry, settings.scan_s, time.time)
    folder = settings.credentials_dir
    certificate = Certificate(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="table") as threads:
        routes = Routes(registry, readings, tokens, limits, threads, time.time)
        https = server(routes.application(), settings.host, settings.port, certificate, limits)
        doors.append(https)
        serving = asyncio.create_task(https.serve())
        beside = [asyncio.create_task(readings.run()), asyncio.create_task(_look(tokens))]
        if settings.backup_every_hours:
            beside.append(asyncio.create_task(_backups(settings).run()))
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((serving, waiting, *beside), return_when=asyncio.FIRST_COMPLETED)
            for task in (each for each in (serving, *beside) if each.done()):
                task.result()
        finally:
            for task in (waiting, *beside):
                task.cancel()
            await https.stopped(serving)


def _backups(settings: Settings) -> Backups:
    place = settings.table, settings.region, settings.endpoint, settings.table_credentials_dir
    every_s = settings.backup_every_hours * 3600
    return Backups(TableBackups.open(*place), every_s, settings.backup_keep_last, time.time)


async def _look(tokens: Tokens) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        tokens.look()


def _key(folder: Path) -> bytes:
    file = folder / names.FILE_REGISTRY_KEY
    for each in (file, folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY):
        if not each.is_file():
            raise FatalError(Exit.BAD_SETTINGS, f"{each} is missing: the registry's Secret must hold {each.name}")
    key = file.read_bytes()
    if len(key) != 32:
        raise FatalError(Exit.BAD_SETTINGS, f"{file} has {len(key)} bytes, 32 are needed")
    return key


if __name__ == "__main__":
    sys.exit(main())
