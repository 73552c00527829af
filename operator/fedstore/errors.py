"""What can go wrong in a store, classed by what to do next.

StoreError
├── StoreFull          retry later, or ask for a bigger volume; nothing half-written is left
├── StoreFailed        retry later: the medium answers with an error
├── Missing            the key holds nothing
├── AlreadyExists      give up: the key holds other content, and objects are written once
├── HeadMoved          give up: somebody else replaced HEAD
├── ContentMismatch    the sender's fault: size or digest is not what was announced
└── InvalidKey         the caller's fault: not a key
"""


class StoreError(Exception):
    """Base of all errors of this package."""


class StoreFull(StoreError):  # noqa: N818 - names say the fact
    """No room: disk, quota or file size limit."""


class StoreFailed(StoreError):  # noqa: N818
    """The medium failed: read-only, input/output error."""


class Missing(StoreError):  # noqa: N818
    """There is no such object."""


class AlreadyExists(StoreError):  # noqa: N818
    """The key holds other content."""


class HeadMoved(StoreError):  # noqa: N818
    """Compare-and-swap lost."""


class ContentMismatch(StoreError):  # noqa: N818
    """Size or digest differs from what was announced. `code` is the wire's refusal code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidKey(StoreError):  # noqa: N818
    """Not a relative path of plain names."""
