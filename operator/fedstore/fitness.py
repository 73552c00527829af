"""Whether an S3 server keeps the conditions that writes have, and checks what it is sent. Asked by s3.py before the first write.

Some servers, and some versions of others, take a conditional write and ignore the condition: two aggregators could both
commit. The object that is written for this lies where HEAD objects do, which bucket policies let be replaced.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fedstore.bucket import SHA256, ConflictError, Upload
from fedstore.errors import StoreError, UnfitStoreError
from fedstore.s3errors import RefusedError

_FIRST, _SECOND = b"first", b"second"
_WAY_OUT = (
    "two processes could overwrite each other's work. Use a store, or a version of it, that has conditional writes: "
    "docs/storage.md lists them"
)


class Subject(Protocol):
    """A bucket that is not known yet."""

    def put_unprobed(
        self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]
    ) -> str:
        """As Bucket.put."""

    def upload_unprobed(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> Upload:
        """As Bucket.upload."""

    def delete(self, name: str) -> None:
        """As Bucket.delete."""


@dataclass(frozen=True)
class Found:
    """What may be relied on."""

    checks_sha256: bool  # so what it says of a digest is true


def probed(subject: Subject, prefix: str, *, conditional: bool) -> Found:
    """Writes a few bytes below the prefix and deletes them. UnfitStoreError when a condition is ignored."""
    name = f"{prefix}control/.probe-{secrets.token_hex(8)}/HEAD.json"
    try:
        tag = subject.put_unprobed(name, _FIRST, None, {})
        if conditional:
            _require_conditions(subject, name)
        wrong = {SHA256: hashlib.sha256(_FIRST).hexdigest()}
        try:
            subject.put_unprobed(name, _SECOND, tag, wrong)
        except ConflictError as error:
            raise UnfitStoreError(
                f"the store did not write over an object whose ETag was the one it told: {error}"
            ) from error
        except RefusedError:
            return Found(checks_sha256=True)
        except StoreError:
            pass  # nothing is known, so nothing is believed
        return Found(checks_sha256=False)
    finally:
        with contextlib.suppress(StoreError):
            subject.delete(name)


def _require_conditions(subject: Subject, name: str) -> None:
    for expected, condition in ((None, "If-None-Match"), ('"00000000000000000000000000000000"', "If-Match")):
        with contextlib.suppress(ConflictError):
            subject.put_unprobed(name, _SECOND, expected, {})
            raise UnfitStoreError(f"the store ignores {condition} when an object is put: {_WAY_OUT}")
    upload = subject.upload_unprobed(name, None, {})
    try:
        upload.part(1, memoryview(_SECOND))
        with contextlib.suppress(ConflictError):
            upload.complete()
            raise UnfitStoreError(f"the store ignores If-None-Match when a multipart upload is completed: {_WAY_OUT}")
    finally:
        upload.abort()
