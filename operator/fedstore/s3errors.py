"""What an S3 server, the network or the SDK answers, as this package's errors, each with the way out. Used by s3.py alone.

Pure: an exception and where it came from, to an exception.
"""

from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)
from urllib3.exceptions import HTTPError

from fedstore.bucket import ConflictError
from fedstore.errors import (
    MissingError,
    StoreDeniedError,
    StoreError,
    StoreFailedError,
    StoreFullError,
    UnfitStoreError,
    UnknownStoreError,
)

SDK_ERRORS = (BotoCoreError, ClientError, HTTPError, OSError)
BROKEN_OFF = (BotoCoreError, HTTPError, OSError)  # while a body was read

_NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})
_CONFLICT = frozenset({"412", "PreconditionFailed", "NoSuchUpload"})  # the upload: an earlier try completed it
_CONTENDED = frozenset({"ConditionalRequestConflict", "OperationAborted", "RestoreAlreadyInProgress"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"})  # fmt: skip
_NO_BUCKET = frozenset({"NoSuchBucket", "InvalidBucketName"})
_OTHER_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_DENIED = {
    "InvalidAccessKeyId": "it does not know the access key id: give credentials that are valid",
    "SignatureDoesNotMatch": "the secret access key is not that of the access key id",
    "ExpiredToken": "the session token has expired: give a new one, or a role that renews it",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the session token is to be renewed",
    "RequestTimeTooSkewed": "this machine's clock and the store's differ by too much: set it by NTP",
    "RequestExpired": "this machine's clock and the store's differ by too much: set it by NTP",
    "AllAccessDisabled": "access to the bucket is disabled",
    "AccountProblem": "something is wrong with the account that pays for the bucket",
}
CREDENTIALS = frozenset(_DENIED)  # codes of credentials that are not good, as against rights that they lack
NO_BUCKET = "there is no such bucket: make it, or correct its name"
NO_KEY = "the store may not be able to use the key that encrypts: see that it is there, enabled, and may be used"
_RIGHTS = "the credentials lack a right; those that are needed are in docs/storage.md"
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)


class ContendedError(StoreFailedError):
    """Another write of the same object is under way: soon again."""


class RefusedError(StoreFailedError):
    """The server says that the request is wrong: its checksum, for example."""


def typed(error: Exception, what: str, credentials: str) -> StoreError:
    """`what`: the object, as people read it. `credentials`: where they come from."""
    if isinstance(error, ClientError):
        return _answered(Answer.of(error), what, credentials)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreDeniedError(f"{what}: no credentials in {credentials}: {error}")
    if isinstance(error, ParamValidationError):
        return UnknownStoreError(f"{what}: {error}")
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreFailedError(
            f"{what}: its certificate is not trusted: give the CA as ca.crt beside the credentials ({error})"
        )
    return StoreFailedError(f"{what}: {error}")


def is_internal(error: Exception) -> bool:
    """Whether a server says that it failed, and not at what."""
    return isinstance(error, ClientError) and Answer.of(error).code == "InternalError"


@dataclass(frozen=True)
class Answer:
    """What of a refusal tells why."""

    code: str
    message: str
    status: int
    region: str  # of the bucket, where the server says it

    @staticmethod
    def of(error: ClientError) -> "Answer":
        """From the SDK's."""
        told, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
        return Answer(told.get("Code", ""), told.get("Message", ""), meta.get("HTTPStatusCode", 0), region)

    def is_of_kms(self) -> bool:
        """AWS has codes for it; others say it in words, with whatever status."""
        return "KMS" in self.code or (self.status in {400, 403, 500} and "kms" in self.message.lower())


def _answered(answer: Answer, what: str, credentials: str) -> StoreError:
    kind, told = _meaning(answer, credentials)
    return kind(f"{what}: {told} ({answer.code}: {answer.message})")


def _meaning(answer: Answer, credentials: str) -> tuple[type[StoreError], str]:
    """The first row that fits, from codes that say all to statuses that say little."""
    region = f": {answer.region}" if answer.region else ""
    rows: tuple[tuple[bool, type[StoreError], str], ...] = (
        (answer.code in _NO_OBJECT, MissingError, "there is no such object"),
        (answer.code in _CONFLICT, ConflictError, "something else is there"),
        (answer.code in _CONTENDED, ContendedError, "another write of it is under way"),
        (answer.code in _NO_BUCKET, UnfitStoreError, NO_BUCKET),
        (answer.code in _OTHER_REGION, UnfitStoreError, f"the bucket is in another region{region}"),
        (answer.status == 501, UnfitStoreError, "the store does not know this operation, or a condition of it"),
        (answer.code in _FULL or answer.status == 507, StoreFullError, "the store has no room left"),
        (answer.code == "InvalidObjectState", StoreFailedError, "it is in a cold class and must be asked for first"),
        (answer.is_of_kms(), StoreDeniedError, NO_KEY),
        (answer.code in _DENIED, StoreDeniedError, f"{_DENIED.get(answer.code)}; credentials: {credentials}"),
        (answer.status in {401, 403}, StoreDeniedError, f"{_RIGHTS}; credentials: {credentials}"),
        (answer.status == 400, RefusedError, "the store refuses the request"),
    )
    return next(((kind, told) for fits, kind, told in rows if fits), (StoreFailedError, "the store failed"))
