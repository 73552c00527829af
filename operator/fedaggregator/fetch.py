"""`python -m fedaggregator.fetch`: fetches the file of task.initialModel, for the task's code to make the first model of it.

The first container of the init Job's pod, and the one of them that has a store's credentials. It looks at nothing of the file but
its SHA-256: what is in it is for a container without credentials.
"""

import contextlib
import hashlib
import logging
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, NoReturn

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedaggregator import jsonlog
from fedaggregator.ending import ended
from fedaggregator.errors import FatalError, faults
from fedapi import names, sigterm
from fedapi.outcome import Exit
from fedapi.wire import location
from fedapi.wire.location import Folder, Memory, UnknownLocationError
from fedstore.blocks import blocks
from fedstore.errors import (
    InvalidKeyError,
    MissingError,
    StoreDeniedError,
    StoreError,
    UnfitStoreError,
    UnknownStoreError,
)
from fedstore.opening import open_store

log = logging.getLogger("fedaggregator")
_BLOCK_BYTES = 8 << 20
_SILENCE_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


class Settings(BaseSettings):
    """What differs between two of them."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    uri: str = Field(validation_alias=names.ENV_IMPORT_URI, description="Where the initial model is fetched from.")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", validation_alias=names.ENV_IMPORT_SHA256, description="What its file must have."
    )
    file: Path = Field(validation_alias=names.ENV_IMPORT_FILE, description="Where it is put.")
    credentials_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_STORE_CREDENTIALS_DIR,
        description="Folder of a store's credentials; absent: what the cloud's SDK finds.",
    )
    patience_s: float = Field(
        120.0, gt=0, validation_alias="FEDLOOM_PATIENCE_S", description="Seconds of tries before it gives up."
    )
    within_s: float = Field(
        21_600.0, gt=0, validation_alias="FEDLOOM_IMPORT_WITHIN_S", description="Seconds that all of it may take."
    )
    most_bytes: int = Field(
        256 << 30, gt=0, validation_alias="FEDLOOM_IMPORT_MOST_BYTES", description="Bytes that its file may have."
    )
    termination_log: Path | None = Field(
        None, validation_alias=names.ENV_TERMINATION_LOG, description="File for one line of why the process ended."
    )
    log_level: str = Field("INFO", validation_alias="FEDLOOM_LOG_LEVEL", description="Least level that is logged.")


class _AgainError(Exception):
    """It may work a little later."""


def main() -> int:
    """The exit code is one of fedapi.outcome."""
    termination_log: Path | None = None
    sigterm.ends()
    try:
        settings = Settings()
        termination_log = settings.termination_log
        jsonlog.configure(settings.log_level)
        run(settings)
    except ValidationError as error:
        return ended(Exit.BAD_SETTINGS, faults(error), termination_log)
    except FatalError as error:
        return ended(error.code, str(error), termination_log)
    return Exit.OK


def run(settings: Settings) -> None:
    """Until the file is there, whole; FatalError when it cannot be."""
    part = settings.file.with_name(f"{settings.file.name}.part")
    try:
        with _within(settings.within_s):
            size = _persist(lambda: _fetched(settings, part), settings.patience_s)
        part.replace(settings.file)
    finally:
        part.unlink(missing_ok=True)
    log.info("fetched", extra={"fields": {"uri": settings.uri.partition("?")[0], "size": size}})


def _fetched(settings: Settings, part: Path) -> int:
    """One try; the size."""
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as file:
            for block in _blocks(settings):
                digest.update(block)
                size += len(block)
                if size > settings.most_bytes:
                    raise _bad("uri", f"it has more than {settings.most_bytes} bytes, the most that is fetched")
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of the file alone: those of who sends it are others
        text = f"task.initialModel: no room for the file in the init pod: {error.strerror}"
        raise FatalError(Exit.STORE_FAILED, text) from error
    if digest.hexdigest() != settings.sha256:
        text = (
            f"the file has SHA-256 {digest.hexdigest()} ({size} bytes), not {settings.sha256}: nothing was read of it"
        )
        raise _bad("sha256", text)
    return size


def _blocks(settings: Settings) -> Iterator[bytes | memoryview]:
    return _by_https(settings) if settings.uri.startswith("https://") else _from_store(settings)


def _from_store(settings: Settings) -> Iterator[memoryview]:
    """An object of a bucket, with the adapters that stores have."""
    try:
        place = location.parsed(settings.uri)
        if isinstance(place, Folder | Memory) or not place.prefix:
            raise _bad("uri", f"{settings.uri!r} names no object of a bucket")
        folder, _, key = place.prefix.rpartition("/")
        with open_store(replace(place, prefix=folder).text(), settings.credentials_dir).reader(key) as reader:
            yield from blocks(reader)
    except (UnknownLocationError, UnknownStoreError, InvalidKeyError, MissingError, UnfitStoreError) as error:
        raise _bad("uri", str(error)) from error
    except StoreDeniedError as error:
        raise FatalError(Exit.STORE_DENIED, f"task.initialModel: {error}: look at credentialsSecretRef") from error
    except StoreError as error:
        raise _AgainError(str(error)) from error


def _by_https(settings: Settings) -> Iterator[bytes]:
    """From any server whose certificate is good; it may redirect, to another of https alone."""
    try:
        ca = settings.credentials_dir / names.FILE_STORE_CA if settings.credentials_dir else None
        trust = ssl.create_default_context(cafile=str(ca) if ca and ca.exists() else None)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _HttpsAlone())
        with opener.open(settings.uri, timeout=_SILENCE_S) as answer:
            while block := answer.read(_BLOCK_BYTES):
                yield block
            if answer.length:  # what read() says nothing of
                raise _AgainError(f"the connection ended {answer.length} bytes before the file did")
    except urllib.error.HTTPError as error:
        with error:
            if error.code in {408, 425, 429} or error.code >= 500:
                raise _AgainError(f"the server answers HTTP {error.code}") from error
            raise _bad("uri", f"the server answers HTTP {error.code}") from error
    except (OSError, HTTPException) as error:  # a certificate that is not good, too: it may be renewed meanwhile
        raise _AgainError(f"{type(error).__name__}: {error}") from error
    except ValueError as error:
        raise _bad("uri", str(error)) from error


class _HttpsAlone(urllib.request.HTTPRedirectHandler):
    """What was asked for by https is not taken by http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: "object", newurl: str
    ) -> urllib.request.Request | None:
        """As the server says, if it stays with https."""
        if not newurl.startswith("https://"):
            raise _bad("uri", "the server redirects to an address that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """FatalError when it takes longer: who sends a byte now and then is never silent, so a signal has to end it."""

    def over(_number: int, _frame: object) -> NoReturn:
        text = f"task.initialModel: not fetched within {seconds:.0f} s, the longest that it may take: use a nearer copy"
        raise FatalError(Exit.STORE_FAILED, text)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _bad(field: str, text: str) -> FatalError:
    return FatalError(Exit.BAD_SETTINGS, f"task.initialModel.{field}: {text}")


def _persist(attempt: Callable[[], int], patience_s: float) -> int:
    """Tries until it works, or gives up."""
    give_up, pause = time.monotonic() + patience_s, _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except _AgainError as error:
            if time.monotonic() + pause > give_up:
                text = f"task.initialModel: not fetched within {patience_s:.0f} s: {error}"
                raise FatalError(Exit.STORE_FAILED, text) from error
            log.warning("tried again", extra={"fields": {"reason": str(error)}})
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


if __name__ == "__main__":
    sys.exit(main())
