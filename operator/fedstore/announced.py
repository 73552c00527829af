"""Content on its way into a store, held against what was announced of it. Used by all adapters."""

import hashlib

from fedapi.wire.message import ObjectRef
from fedstore.errors import ContentMismatchError
from fedstore.objectstore import DIGEST


class Content:
    """Size and SHA-256 of what was written so far."""

    def __init__(self, key: str, size: int | None, sha256: str | None) -> None:
        self._key, self._size, self._sha256 = key, size, sha256
        self._hash = hashlib.sha256()
        self.written = 0

    def add(self, chunk: memoryview) -> None:
        """More of it; ContentMismatchError as soon as the announced size is passed."""
        if self._size is not None and self.written + chunk.nbytes > self._size:
            raise ContentMismatchError("WrongSize", f"more than the announced {self._size} bytes were sent")
        self._hash.update(chunk)
        self.written += chunk.nbytes

    def ref(self) -> ObjectRef:
        """All of it, under its key. ContentMismatchError when it is not what was announced."""
        digest = self._hash.hexdigest()
        if self._size is not None and self.written != self._size:
            raise ContentMismatchError("WrongSize", f"{self.written} bytes were sent, {self._size} announced")
        if self._sha256 is not None and digest != self._sha256:
            raise ContentMismatchError("WrongDigest", f"the content has SHA-256 {digest}, announced was {self._sha256}")
        return ObjectRef(key=self._key.replace(DIGEST, digest), sha256=digest, size=self.written)
