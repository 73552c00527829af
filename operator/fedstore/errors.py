"""What can go wrong in a store, classed by what to do next.

StoreError
├── StoreFullError          retry later, or ask for a bigger volume; nothing half-written is left
├── StoreFailedError        retry later: the medium answers with an error
│   └── StoreDeniedError    retry later, somebody must act: rights were taken away, a key of the KMS is gone
├── UnfitStoreError         give up: the store cannot do what a store must, conditional writes for example
├── MissingError            the key holds nothing
├── AlreadyExistsError      give up: the key holds other content, and objects are written once
├── HeadMovedError          give up: somebody else replaced HEAD
│   └── FencedOffError      give up: somebody else may write the store, which does not tell two writers apart
├── CopyRefusedError        the caller's fault: the target is not of the source's past, or the source goes on
├── HistoryDamagedError     somebody must act: HEAD, or a commit that it reaches, is lost or changed
├── ContentMismatchError    the sender's fault: size or digest is not what was announced
├── InvalidKeyError         the caller's fault: not a key
└── UnknownStoreError       the caller's fault: not a place where a store can be
"""


class StoreError(Exception):
    """Base of all errors of this package."""


class StoreFullError(StoreError):
    """No room: disk, quota or file size limit."""


class StoreFailedError(StoreError):
    """The medium failed: read-only, input/output error."""


class StoreDeniedError(StoreFailedError):
    """The store refuses these credentials, or may not use the key that encrypts."""


class UnfitStoreError(StoreError):
    """The store lacks what Fedloom needs of it."""


class MissingError(StoreError):
    """There is no such object."""


class AlreadyExistsError(StoreError):
    """The key holds other content."""


class HeadMovedError(StoreError):
    """Compare-and-swap lost."""


class FencedOffError(HeadMovedError):
    """This process is not the one that writes the store."""


class CopyRefusedError(StoreError):
    """A job cannot be copied there, or not now."""


class HistoryDamagedError(StoreError):
    """HEAD, or a commit that it reaches, is not what was written."""


class ContentMismatchError(StoreError):
    """Size or digest differs from what was announced. `code` is the wire's refusal code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidKeyError(StoreError):
    """Not a relative path of plain names."""


class UnknownStoreError(StoreError):
    """No adapter is for that kind of place."""
