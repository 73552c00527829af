"""What is written, cut into the parts of an upload, several of them under way at once. Used by bucketstore.py alone.

Memory is a buffer for each part under way and one that is being filled, whatever the size of the object.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from fedstore.bucket import Bucket, Upload


class Parts:
    """Of one object. Holds up to one part; what is more than that needs an upload to be begun."""

    def __init__(self, bucket: Bucket, size: int | None, threads: Callable[[], ThreadPoolExecutor]) -> None:
        self._upload: Upload | None = None
        self._bytes = max(bucket.part_bytes, -(-(size or 0) // bucket.most_parts))
        self._most, self._threads = bucket.threads, threads
        self._buffer = bytearray()
        self._number = 0
        self._underway: deque[tuple[Future[None], bytearray]] = deque()

    @property
    def begun(self) -> bool:
        """Whether parts are sent."""
        return self._upload is not None

    def hold(self, more: int) -> bool:
        """Whether so many more bytes can be held without sending any."""
        return len(self._buffer) + more <= self._bytes

    def begin(self, upload: Upload) -> None:
        """From now on full parts are sent."""
        self._upload = upload

    def add(self, data: memoryview) -> None:
        """More of the object; raises what a part that was sent before ended with."""
        at = 0
        while at < data.nbytes:
            if len(self._buffer) == self._bytes:
                self._send()
            take = min(self._bytes - len(self._buffer), data.nbytes - at)
            self._buffer += data[at : at + take]
            at += take

    def rest(self) -> memoryview:
        """What is held."""
        return memoryview(self._buffer)

    def complete(self) -> None:
        """Sends the rest and makes the object of all parts."""
        assert self._upload is not None  # noqa: S101 - begun
        if self._buffer:
            self._send()
        while self._underway:
            self._settle()
        self._upload.complete()
        self._upload = None

    def close(self) -> None:
        """Forgets all parts, if the object was not completed."""
        for part, _ in self._underway:
            part.cancel()
        for part, _ in self._underway:
            if not part.cancelled():
                part.exception()
        self._underway.clear()
        if self._upload is not None:
            self._upload.abort()
            self._upload = None

    def _send(self) -> None:
        assert self._upload is not None  # noqa: S101 - begun
        self._number += 1
        with memoryview(self._buffer).toreadonly() as whole:
            if self._most == 1:
                self._upload.part(self._number, whole)
                self._buffer = bytearray()
                return
        filled, self._buffer = self._buffer, bytearray()
        if len(self._underway) == self._most:
            self._settle()
        self._underway.append((self._threads().submit(self._upload.part, self._number, memoryview(filled)), filled))

    def _settle(self) -> None:
        self._underway.popleft()[0].result()
