"""`python -m fedaggregator.handin`: hands in what the init step made, the model of round 0, to the job's aggregator.

The second container of the init Job's pod. The first one runs the task's code, which leaves a file and sees no token.
The model is the same however often it is made, so a pod that is killed at any moment is followed by one that finds the
work done, or does the rest. Nothing here trusts the file: it is sent as it is, and the aggregator looks at it.
"""

import contextlib
import hashlib
import logging
import os
import random
import ssl
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection, InvalidURL
from io import FileIO
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedaggregator import jsonlog
from fedaggregator.ending import ended
from fedaggregator.errors import FatalError, faults
from fedapi import names, sigterm
from fedapi.https_server import HttpsServer
from fedapi.outcome import Exit
from fedapi.wire.initial import INITIAL, InitialManifest, InitialUpload
from fedapi.wire.site import Receipt, Refusal, UploadGrant

log = logging.getLogger("fedaggregator")
_ANSWER_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_DONE, _REFUSED = 409, (401, 403)
_WRONG = (400, 413, 422)  # of the model itself: sending it again cannot help
_THERE_ALREADY = 412  # of a store: from a try whose answer was lost; the hub looks at it
_LONGEST_ANSWER = 128 << 10


class Settings(BaseSettings):
    """What differs between two init steps."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    job_uid: str = Field(validation_alias=names.ENV_JOB_UID, description="The job's uid.")
    aggregator_url: str = Field(
        pattern=r"^https://", validation_alias=names.ENV_AGGREGATOR_URL, description="Where the aggregator answers."
    )
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS),
        validation_alias=names.ENV_CREDENTIALS_DIR,
        description="Folder of the init step's Secret: token, ca.crt, tls.crt and tls.key.",
    )
    init_dir: Path = Field(
        Path(names.PATH_INIT), validation_alias=names.ENV_INIT_DIR, description="Where the init step leaves the model."
    )
    patience_s: float = Field(
        600.0, gt=0, validation_alias="FEDLOOM_PATIENCE_S", description="Seconds of tries before it gives up."
    )
    termination_log: Path | None = Field(
        None, validation_alias=names.ENV_TERMINATION_LOG, description="File for one line of why the process ended."
    )
    log_level: str = Field("INFO", validation_alias="FEDLOOM_LOG_LEVEL", description="Least level that is logged.")


class _AgainError(Exception):
    """No answer, or one that asks to try again."""


class _DoneError(Exception):
    """The job has its model."""


@dataclass(frozen=True)
class _Hub:
    """The aggregator, and what it is verified and asked with."""

    url: str
    trust: ssl.SSLContext
    token: str

    def post(self, path: str, body: bytes) -> bytes:
        """The answer to a message."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return self._sent("POST", f"{self.url.rstrip('/')}{INITIAL}/{path}", body, headers)

    def put(self, grant: UploadGrant, file: IO[bytes], size: int) -> None:
        """The file, to where the grant says: an object store's certificate is not the installation's own."""
        headers = {"content-length": str(size)} | {name.lower(): value for name, value in grant.headers.items()}
        self._sent(grant.method, grant.url, file, headers, grant.ca)

    def _sent(
        self, method: str, url: str, body: bytes | IO[bytes], headers: Mapping[str, str], ca: str | None = None
    ) -> bytes:
        try:
            parts, server = urlsplit(url), HttpsServer.of(url)
        except ValueError as error:
            raise _AgainError(str(error)) from error
        ours = server == HttpsServer.of(self.url)
        context = self.trust if ours else _trusting(ca)
        connection = HTTPSConnection(*server, context=context, timeout=_ANSWER_S, blocksize=1 << 20)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused early: the answer may be there
                connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read(_LONGEST_ANSWER)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, InvalidURL | ValueError) and not isinstance(
                error, OSError
            ):  # its text has what is secret
                raise _AgainError(f"{type(error).__name__}: the grant is malformed") from None
            raise _AgainError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if ours:
            _check(method, answer.status, content)
        elif answer.status // 100 != 2 and answer.status != _THERE_ALREADY:
            raise _AgainError(f"the object store answers HTTP {answer.status}: asks for another grant")
        return content


def _trusting(ca: str | None) -> ssl.SSLContext:
    """What verifies an object store: what the hub says, or the system's roots."""
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise _AgainError(f"the store's CA certificates, as the hub tells them, cannot be read: {error}") from error


def _reason(content: bytes, words: str) -> str:
    """What the hub says to a person: its answer without the JSON around it."""
    try:
        return Refusal.model_validate_json(content).message or words
    except ValidationError:  # of something between us and the hub
        return words


def _check(method: str, status: int, content: bytes) -> None:
    """Raises what an error answer of the hub means; of a URL, 401 and 403 say that it is an old one, 409 nothing of the job."""
    if status // 100 == 2:
        return
    words = f"HTTP {status} {content[:1000].decode(errors='replace')}"
    if status == _DONE and method == "POST":
        raise _DoneError(words)
    if status in _REFUSED and method == "POST":
        raise FatalError(Exit.REFUSED, f"the aggregator refuses the init step: {words}")
    if status in _WRONG:
        raise FatalError(
            Exit.TASK_INVALID, f"the aggregator does not take the initial model: {_reason(content, words)}"
        )
    raise _AgainError(words)


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
    """Until the model is committed; FatalError when it cannot be."""
    hub = _hub(settings)
    with opened(settings.init_dir / names.INIT_MODEL_FILE) as file:
        sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        try:
            _persist(lambda: _hand_in(hub, settings.job_uid, file, sha256, size), settings.patience_s)
        except _DoneError as done:
            log.info("the job has its model already", extra={"fields": {"answer": str(done)}})


def _hub(settings: Settings) -> _Hub:
    folder = settings.credentials_dir
    try:
        HttpsServer.of(settings.aggregator_url)
    except ValueError as error:
        raise FatalError(Exit.BAD_SETTINGS, f"aggregator_url {settings.aggregator_url!r}: {error}") from error
    try:
        trust = ssl.create_default_context(cafile=str(folder / names.FILE_CA))
        if (folder / names.FILE_TLS_CERT).exists():  # Secrets of older operators have none
            trust.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
        return _Hub(settings.aggregator_url, trust, (folder / names.FILE_TOKEN).read_text().strip())
    except OSError as error:  # ssl.SSLError is one
        raise FatalError(Exit.BAD_SETTINGS, f"{folder}: token and ca.crt are needed: {error}") from error


def opened(path: Path) -> FileIO:
    """A plain file that task code made: a link leads nowhere, and nobody waits for the other end of a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        message = "the init step left no model: the task's code may have ended the process, as sys.exit() does"
        raise FatalError(Exit.TASK_INVALID, message) from error
    except OSError as error:
        message = f"the initial model {path.name} cannot be read: {error.strerror}"
        raise FatalError(Exit.TASK_INVALID, message) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FatalError(Exit.TASK_INVALID, f"the initial model {path.name} is not a plain file")
    return FileIO(fd, "rb")


def _hand_in(hub: _Hub, job_uid: str, file: FileIO, sha256: str, size: int) -> None:
    """Grant, bytes, manifest. What fails in between is begun anew: nothing of it counts before the manifest."""
    request = InitialUpload(job_uid=job_uid, sha256=sha256, size=size)
    grant = UploadGrant.model_validate_json(hub.post("uploads", request.model_dump_json().encode()))
    file.seek(0)
    hub.put(grant, file, size)
    manifest = InitialManifest(job_uid=job_uid, payload=grant.object)
    receipt = Receipt.model_validate_json(hub.post("models", manifest.model_dump_json().encode()))
    log.info("handed in", extra={"fields": {"sha256": sha256, "size": size, "duplicate": receipt.duplicate}})


def _persist(attempt: Callable[[], None], patience_s: float) -> None:
    """Tries until it works, or gives up."""
    give_up, pause = time.monotonic() + patience_s, _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except _AgainError as error:
            if time.monotonic() + pause > give_up:
                message = f"handing in the initial model: no success for {patience_s:.0f} s: {error}"
                raise FatalError(Exit.AGGREGATOR_LOST, message) from error
            log.warning("tried again", extra={"fields": {"reason": str(error)}})
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(_LONGEST_PAUSE_S, pause * 2)


if __name__ == "__main__":
    sys.exit(main())
