"""Fingerprints of what this process has hashed: what is read again later is known by them, without another SHA-256.

One is made in the pass that computes an object's SHA-256, over the same memory, and kept by that digest: of an update that
a site sends, of the model that a fold makes. After a restart there are none, and objects are verified by SHA-256 again.
Made by __main__ with the payloads, used by blobs.py, folding.py and verified.py. The key never leaves the process.
"""

import os
import threading
from collections import OrderedDict

from fedapi.wire.message import ObjectRef
from fedcore.tensors import fingerprint, kernels
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.fingerprint import KEY_BYTES, Fingerprint
from fedstore.objectstore import Writer

_MOST = 1 << 16  # objects: those of a round, by far


class Fingerprints:
    """By SHA-256. Called by any thread."""

    def __init__(self) -> None:
        self._key = fingerprint.key(os.urandom(KEY_BYTES))
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Fingerprint] = OrderedDict()

    def part(self, view: memoryview, offset: int) -> Fingerprint:
        """What bytes that lie at that offset add to an object's."""
        return kernels.fingerprint(view, offset, self._key)

    def sum_read(self, total: Array, terms: Array, read: int, room: memoryview) -> int:
        """Sums float32 items of files, as kernels.sum_read_f32 says: what they add to fingerprints is in the terms."""
        return kernels.sum_read_f32(total, terms, read, room, self._key)

    def of(self, ref: ObjectRef) -> Fingerprint | None:
        """Of an object; None: it was not hashed here, or there are no compiled kernels."""
        with self._lock:
            return self._known.get(ref.sha256)

    def noted(self, writer: Writer) -> Writer:
        """The same writer, whose object is known when it is finished."""
        return _Noted(self, writer) if kernels.AVAILABLE else writer

    def keep(self, ref: ObjectRef, found: Fingerprint) -> None:
        """What the bytes had whose digest this is."""
        with self._lock:
            self._known[ref.sha256] = found
            self._known.move_to_end(ref.sha256)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)


class _Noted:
    """An object in the making; the writer hashes each part, which is the same memory."""

    def __init__(self, fingerprints: Fingerprints, writer: Writer) -> None:
        self._fingerprints, self._writer = fingerprints, writer
        self._first = self._second = self._position = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """As the port says."""
        with memoryview(chunk) as view:
            self._writer.write(view)
            first, second = self._fingerprints.part(view, self._position)
            self._first, self._second = self._first + first, self._second + second
            self._position += view.nbytes

    def finish(self) -> ObjectRef:
        """As the port says."""
        ref = self._writer.finish()
        self._fingerprints.keep(ref, fingerprint.total(self._first, self._second))
        return ref
