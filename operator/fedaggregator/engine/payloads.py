"""The files of updates, opened to be read as files of tensors: the one place that knows how a payload is kept.

Made by __main__; used where an update is judged (content.py) and where it is folded (sources.py). Sizes and digests of
references are those of the bytes that are kept; what is read, by size and offset, is the file that the site made.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fedaggregator.engine import verified
from fedaggregator.engine.verified import VerifiedReader
from fedaggregator.errors import RequestRefusedError
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Payload, Refusal
from fedstore.memory import MemoryReader
from fedstore.objectstore import ObjectStore, Reader


class Payloads:
    """Of one job's updates. Blocking."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @contextmanager
    def arrived(self, payload: Payload) -> Iterator[Reader]:
        """One that was put and whose digest was checked on its way; MissingError, or RequestRefusedError for its size."""
        with self._store.reader(payload.object.key) as reader:
            _check_size(payload.object, reader.size)
            yield reader

    def held(self, payload: Payload, data: bytes) -> Reader:
        """One that came with its manifest; RequestRefusedError for its size."""
        _check_size(payload.object, len(data))
        return MemoryReader(payload.object.key, data)

    def accepted(self, payload: Payload) -> AbstractContextManager[VerifiedReader]:
        """One that counts, checked again while it is read; DamagedError when it is missing or of another size."""
        return verified.verified(self._store, payload.object)


def _check_size(ref: ObjectRef, size: int) -> None:
    if size != ref.size:
        message = f"payload.size {ref.size} is not the size of what was uploaded, {size}"
        raise RequestRefusedError(Refusal(code="WrongSize", message=message))
