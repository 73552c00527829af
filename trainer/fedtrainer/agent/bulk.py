"""Models in, updates out: between disk and HTTPS in big blocks, hashed on the way. Called by work.py.

The URL is the authorization here: the site's token is never sent along.
"""

import hashlib
import http.client
import logging
import ssl
from collections.abc import Iterable, Iterator
from functools import partial
from http.client import HTTPResponse
from io import FileIO
from pathlib import Path

from fedapi.wire.download import Download
from fedapi.wire.site import UploadGrant
from fedtrainer.agent import answers
from fedtrainer.agent.patience import Patience, RetryError, persist
from fedtrainer.agent.stream import Stream
from fedtrainer.errors import LinkExpiredError, RefusedError, RejectedError
from fedtrainer.training import overwriting

log = logging.getLogger(__name__)

BLOCK_BYTES = 256 << 10  # read, hashed and written while it is in the CPU's cache
THERE_ALREADY = 412  # if-none-match
PARTIAL_CONTENT = 206  # a range, as it was asked for
BAD_DOWNLOADS = 3  # downloads with wrong bytes before the site says so
LONGEST_REFUSAL_BYTES = 64 << 10


class Bulk:
    """Downloads with bounded retries, and uploads."""

    def __init__(self, stream: Stream, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience
        self._block = memoryview(bytearray(BLOCK_BYTES))

    def download(self, what: Download, path: Path, name: str = "the model") -> None:
        """Leaves a verified file at `path`: of what the order brought, or else of what its URL gives.

        RejectedError when its bytes are wrong three times.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if what.content is not None:
            if _is(what, what.content):
                overwriting.write(path, what.content)
                return
            log.warning("%s, as it came with the order, is not what that names: fetches it", name)
        for _ in range(BAD_DOWNLOADS):
            found = persist(f"downloading {name}", lambda: self._download(what, path), self._patience)
            if found == what.sha256:
                return
        path.unlink(missing_ok=True)
        raise RejectedError("WrongDigest", f"{name}'s bytes have SHA-256 {found}, the order says {what.sha256}")

    def fill(self, what: Download, path: Path, ranges: Iterable[tuple[int, int]]) -> bool:
        """Fetches these ranges of an object into their places in a file; False where its server gives whole objects alone."""
        with path.open("r+b", buffering=0) as file:
            return all(
                persist("downloading a part of the model", partial(self._part, what, file, *each), self._patience)
                for each in ranges
            )

    def upload(self, path: Path, grant: UploadGrant) -> None:
        """Sends a file, once: LinkExpiredError and RetryError both call for a new grant, since a refusal in mid-body can get lost.

        A store that has the object already has it from a try whose answer was lost, or holds it damaged: the hub, which
        looks at it, says which.
        """
        headers = {"content-length": str(path.stat().st_size)} | {k.lower(): v for k, v in grant.headers.items()}
        with path.open("rb", buffering=0) as file:
            response = self._stream.send(grant.method, grant.url, headers, file, grant.ca)
        if response.status == THERE_ALREADY and not self._stream.is_of_hub(grant.url):
            self._stream.close()
            return
        self._check(response, grant.url)
        self._read_off(response)

    def _download(self, what: Download, path: Path) -> str:
        """SHA-256 of what came; the file holds it."""
        response = self._stream.send("GET", what.url, {}, ca=what.ca)
        self._check(response, what.url)
        digest = hashlib.sha256()
        with path.open("wb", buffering=0) as file:
            for block in self._body(response, what.size):
                digest.update(block)
                overwriting.put(file, block)
        return digest.hexdigest()

    def _part(self, what: Download, file: FileIO, begin: int, end: int) -> bool:
        response = self._stream.send("GET", what.url, {"range": f"bytes={begin}-{end - 1}"}, ca=what.ca)
        self._check(response, what.url)
        if response.status != PARTIAL_CONTENT:
            self._stream.close()
            return False
        file.seek(begin)
        for block in self._body(response, end - begin):
            overwriting.put(file, block)
        return True

    def _body(self, response: HTTPResponse, size: int) -> Iterator[memoryview]:
        """What an answer brings, block after block; more than it should, as far as is needed to see that."""
        left = size
        try:
            while left >= 0 and (count := response.readinto(self._block)):
                yield self._block[:count]
                left -= count
        except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
            self._stream.close()
            raise RetryError(f"{type(error).__name__}: {error}") from error
        if left > 0:
            self._stream.close()
            raise RetryError(f"{left} of {size} bytes are missing")
        if left < 0:
            self._stream.close()

    def _read_off(self, response: HTTPResponse) -> None:
        """The rest of an answer that says that all is well; what is long, or breaks off, ends the connection."""
        try:
            response.read(LONGEST_REFUSAL_BYTES)
        except (OSError, http.client.HTTPException):
            self._stream.close()
        if not response.isclosed():
            self._stream.close()

    def _check(self, response: HTTPResponse, url: str) -> None:
        """Raises what an error answer means. A refused URL (401, 403) is an old one: the site itself is not refused."""
        if response.status // 100 == 2:
            return
        try:
            body = response.read(LONGEST_REFUSAL_BYTES)
        except (OSError, http.client.HTTPException):
            body = b""
        self._stream.close()
        meaning = answers.error if self._stream.is_of_hub(url) else answers.of_store
        error = meaning(response.status, body)
        if isinstance(error, RefusedError):
            raise LinkExpiredError(str(error))
        if error is not None:
            raise error


def _is(what: Download, content: bytes) -> bool:
    return (len(content), hashlib.sha256(content).hexdigest()) == (what.size, what.sha256)
