"""The files of updates, opened to be read as files of tensors: the one place that knows how a payload is kept.

Made by __main__; used where an update is judged (content.py) and where it is folded (sources.py), with what it is added to. Sizes and digests of
references are those of the bytes that are kept; what is read, by size and offset, is the file that the site made.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedaggregator.engine import verified
from fedaggregator.engine.fingerprints import Fingerprints
from fedaggregator.engine.verified import Checked, Verified
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.ciphertext import Kem, Place
from fedapi.wire.message import ObjectRef
from fedapi.wire.orders import Encrypt
from fedapi.wire.site import Refusal
from fedapi.wire.tokens import noise_key
from fedapi.wire.update import Payload
from fedcore.tensors.submodels import Widths
from fedstore.memory import MemoryReader
from fedstore.objectstore import ObjectStore, Reader

if TYPE_CHECKING:
    from fedaggregator.engine.decrypted import DecryptedReader, Saw
    from fedapi.wire.encryption import HubKey


@dataclass(frozen=True)
class Sent:
    """A payload, and what it was made for."""

    payload: Payload
    place: Place
    width: float | None = None  # of the sub-model that it is an update of; None: of the whole model

    @property
    def ref(self) -> ObjectRef:
        """What is kept of it."""
        return self.payload.object


class Payloads:
    """Of one job's updates. Blocking."""

    def __init__(self, store: ObjectStore, job_key: bytes) -> None:
        self._store, self._job_key = store, job_key
        self.fingerprints = Fingerprints()  # of this job's objects, updates or not
        self._told: dict[Kem, Encrypt] = {}
        self.widths: dict[str, Widths] = {}  # of initial models that were read, by digest (widths.py)

    @contextmanager
    def arrived(self, sent: Sent) -> Iterator[Reader]:
        """One that was put and whose digest was checked on its way; MissingError, or RequestRefusedError for what it is."""
        with self._store.reader(sent.ref.key) as reader, self._judged(sent, reader) as plain:
            yield plain

    @contextmanager
    def held(self, sent: Sent, data: bytes) -> Iterator[Reader]:
        """One that came with its manifest; RequestRefusedError for what it is."""
        with self._judged(sent, MemoryReader(sent.ref.key, data)) as plain:
            yield plain

    @contextmanager
    def accepted(self, sent: Sent) -> Iterator[Checked]:
        """One that counts, checked again while it is read; DamagedError when it is missing or is not what was accepted."""
        with verified.verified(self._store, sent.ref, self.fingerprints) as reader:
            kem = sent.payload.encryption
            yield self._decrypted(sent, kem, reader.unhashed, reader.saw, reader.trouble) if kem else reader

    def committed(self, ref: ObjectRef) -> AbstractContextManager[Verified]:
        """What a commit names, checked while it is read; DamagedError when it is missing."""
        return verified.verified(self._store, ref, self.fingerprints)

    def noise_key(self, drawn_for: bytes) -> bytes:
        """Of the noise of a sum of this job's updates."""
        return noise_key(self._job_key, drawn_for)

    def encrypt(self, kem: Kem) -> Encrypt:
        """What sites are told who are to encrypt."""
        if kem not in self._told:
            self._told[kem] = Encrypt(kem=kem, public_key=self._hub_key.recipient(kem).public_key)
        return self._told[kem]

    @contextmanager
    def _judged(self, sent: Sent, reader: Reader) -> Iterator[Reader]:
        if reader.size != sent.ref.size:
            message = f"payload.size {sent.ref.size} is not the size of what was uploaded, {reader.size}"
            raise RequestRefusedError(Refusal(code="WrongSize", message=message))
        try:
            if (kem := sent.payload.encryption) is None:
                yield reader
            else:
                decrypted = self._decrypted(sent, kem, reader, lambda _part, _offset: None, str)
                decrypted.check_end()
                yield decrypted
        except DamagedError as error:
            message = f"the update cannot be decrypted: {error.found[sent.ref.key]}"
            raise RequestRefusedError(Refusal(code="Malformed", message=message)) from error

    def _decrypted(
        self, sent: Sent, kem: Kem, stored: Reader, saw: "Saw", trouble: Callable[[], str]
    ) -> "DecryptedReader":
        from fedaggregator.engine import decrypted  # noqa: PLC0415 - as below

        return decrypted.opened(sent.ref.key, kem, sent.place, self._hub_key, stored, saw, trouble)

    @cached_property
    def _hub_key(self) -> "HubKey":
        from fedapi.wire.encryption import HubKey  # noqa: PLC0415 - 7 MB and 30 ms where nothing is encrypted

        return HubKey(self._job_key)
