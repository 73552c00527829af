"""The bucket of Google Cloud Storage (google-cloud-storage). Called by opening.py; what a store is, is in bucketstore.py.

The tag of an object is its generation: a write says which one it replaces, 0 for none. Large objects go by a resumable upload, whose
parts come in their order; Google forgets an upload that nobody goes on with after a week. URLs are signed with the key of a service
account, or, with workload identity, by IAM's signBlob, which is a request for each URL.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import google.auth
import requests
from google.api_core import exceptions as answers
from google.auth import credentials as tokens
from google.auth import exceptions as auth_errors
from google.auth import identity_pool
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.fileio import BlobWriter
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from fedapi.wire.location import Gcs
from fedapi.wire.message import ObjectRef
from fedstore import connections
from fedstore.bucket import SHA256, ConflictError, Stat
from fedstore.credentials import CA_FILE, OfCredentials
from fedstore.errors import MissingError, StoreDeniedError, StoreError, StoreFailedError, UnfitStoreError
from fedstore.presigning import Presigned

KEY_FILE = "service-account.json"  # what GOOGLE_APPLICATION_CREDENTIALS names: a key, or how to get a token from another identity
COLD = "COLDLINE"
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write", "https://www.googleapis.com/auth/iam")
_TYPE = "application/octet-stream"
TIMEOUT_S = (5.0, 60.0)  # to connect; between two bytes of the answer
_RETRY = DEFAULT_RETRY.with_timeout(30.0)  # longer outages are the caller's: it tells them and waits
_SIGNER = "give the identity roles/iam.serviceAccountTokenCreator on itself, or a key of a service account"
_KMS = "KMS"  # in the text of an answer that is about the key which encrypts
_MOST = 500  # characters of an error: a library may put whole answers into it
_SESSION = re.compile(r"upload_id=[^&\s'\")]*")  # of an upload that is under way: who knows it may go on with it


class GcsBucket:
    """Objects by generation."""

    part_bytes, most_parts, threads = 8 << 20, 1 << 20, 1
    largest_put_bytes = 5 << 40

    def __init__(self, place: Gcs, credentials: Path | None, scopes: tuple[str, ...] = _SCOPES) -> None:
        self._place, self._scopes = place, scopes
        self._folder = credentials
        self._clients = OfCredentials(credentials, self._client)

    def put(self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]) -> str:
        """One request; Google compares the checksum that goes with it."""
        blob = self._blob(name, metadata)
        with _in_the_bucket(self._at(name), expected):
            blob.upload_from_file(
                io.BytesIO(data),
                size=len(data),
                content_type=_TYPE,
                if_generation_match=_generation(expected),
                checksum="crc32c",
                timeout=TIMEOUT_S,
                retry=_RETRY,
            )
        return str(blob.generation)

    def upload(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> "GcsUpload":
        """Google takes the condition when the upload is begun, and keeps it until its last byte."""
        return GcsUpload(self._blob(name, metadata), self._at(name), _generation(expected))

    def stat(self, name: str) -> Stat | None:
        """By the object's metadata."""
        blob = self._blob(name)
        try:
            with typed_errors(self._at(name)):
                blob.reload(timeout=TIMEOUT_S, retry=_RETRY)
        except MissingError:
            return None
        return Stat(int(blob.size or 0), str(blob.generation), dict(blob.metadata or {}))

    def get(self, name: str) -> tuple[bytes, str]:
        """One request: the answer says which generation it is."""
        blob = self._blob(name)
        with typed_errors(self._at(name)):
            data = blob.download_as_bytes(raw_download=True, checksum="crc32c", timeout=TIMEOUT_S, retry=_RETRY)
        return data, str(blob.generation)

    def read_into(self, name: str, tag: str, buffer: memoryview, offset: int) -> None:
        """Of that generation, which is gone when it was replaced or deleted."""
        blob = self._blob(name, generation=int(tag))
        filled = _Filled(buffer)
        try:
            with typed_errors(self._at(name)):
                blob.download_to_file(
                    filled,
                    start=offset,
                    end=offset + buffer.nbytes - 1,
                    raw_download=True,
                    checksum=None,
                    timeout=TIMEOUT_S,
                    retry=_RETRY,
                )
        except MissingError as error:
            raise StoreFailedError(f"{self._at(name)}: the object has changed while it was read") from error
        filled.must_be_full(self._at(name))

    def names(self, prefix: str) -> Iterator[str]:
        """A page of a thousand at a time."""
        with _in_the_bucket(self._at(prefix)):
            bucket = self._bucket()
            pages = bucket.client.list_blobs(
                bucket, prefix=prefix, fields="items(name),nextPageToken", timeout=TIMEOUT_S, retry=_RETRY
            )
            for blob in pages:
                yield blob.name

    def delete(self, name: str) -> None:
        """Without a condition."""
        with contextlib.suppress(MissingError), typed_errors(self._at(name)):
            self._blob(name).delete(timeout=TIMEOUT_S, retry=_RETRY)

    @property
    def thaw_takes(self) -> str:
        """Google's cold classes cost more to read, and are read at once."""
        return "no time"

    def freeze(self, name: str) -> None:
        """To the class COLDLINE, on the condition that it is what it was."""
        with typed_errors(self._at(name)):
            blob = self._blob(name)
            blob.reload(timeout=TIMEOUT_S, retry=_RETRY)
            if blob.storage_class != COLD:
                blob.update_storage_class(COLD, if_source_generation_match=blob.generation, timeout=TIMEOUT_S)

    def thawed(self, name: str) -> bool:
        """Always."""
        del name
        return True

    def abandon(self, prefix: str) -> None:
        """Google does it by itself."""

    def ca(self) -> str:
        """Of an endpoint that no public authority vouches for."""
        return self._clients.files().get(CA_FILE, "")

    def presigned_get(self, name: str, now: float, lifetime_s: float) -> Presigned:
        """V4; ranges may be asked for."""
        return self._signed("GET", name, now, lifetime_s, {})

    def presigned_put(self, name: str, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """V4, bound to the size, to there being no object yet, and to the metadata that name the digest."""
        headers = {
            "content-type": _TYPE,
            "x-goog-content-length-range": f"{ref.size},{ref.size}",
            "x-goog-if-generation-match": "0",
            f"x-goog-meta-{SHA256}": ref.sha256,
        }
        if self._place.kms_key:
            headers["x-goog-encryption-kms-key-name"] = self._place.kms_key
        return self._signed("PUT", name, now, lifetime_s, headers)

    def region(self) -> str:
        """Or dual- and multi-regions, as Google names them: eu, nam4."""
        bucket = self._bucket()
        with typed_errors(self._at("")):
            bucket.reload(timeout=TIMEOUT_S, retry=_RETRY)
        return str(bucket.location or "").lower()

    @property
    def session(self) -> Any:
        """The library's, which authorizes what it sends: for settings of the bucket (care/)."""
        return self._clients.now().session

    @property
    def base_url(self) -> str:
        """Of the JSON API."""
        return self._place.endpoint.rstrip("/") or f"https://storage.{self._clients.now().identity.universe_domain}"

    def _signed(self, method: str, name: str, now: float, lifetime_s: float, headers: dict[str, str]) -> Presigned:
        made = self._clients.now()
        with typed_errors(f"a URL of {self._at(name)}"):
            url = (
                made.client.bucket(self._place.bucket)
                .blob(name)
                .generate_signed_url(
                    version="v4",
                    method=method,
                    expiration=timedelta(seconds=lifetime_s),
                    headers=dict(headers),
                    credentials=made.identity,
                    **_signer(made.identity),
                )
            )
        return Presigned(method, url, now + lifetime_s, headers)

    def _at(self, name: str) -> str:
        return f"gs://{self._place.bucket}/{name}"

    def _bucket(self) -> Any:
        return self._clients.now().client.bucket(self._place.bucket)

    def _blob(self, name: str, metadata: Mapping[str, str] | None = None, generation: int | None = None) -> Any:
        blob = self._bucket().blob(name, generation=generation, kms_key_name=self._place.kms_key or None)
        if metadata:
            blob.metadata = dict(metadata)
        return blob

    def _client(self, files: Mapping[str, str]) -> "_Made":
        with typed_errors(self._place.text()):
            identity = _identity(files, self._scopes, anonymous=bool(self._folder is not None and self._place.endpoint))
        session = AuthorizedSession(identity)
        connections.keep(session, self._folder / CA_FILE if self._folder is not None and CA_FILE in files else None)
        options = {"universe_domain": identity.universe_domain}
        if self._place.endpoint:
            options["api_endpoint"] = self._place.endpoint
        client = storage.Client(project=None, credentials=identity, client_options=options, _http=session)
        return _Made(client, identity, session)


class GcsUpload:
    """A resumable upload."""

    def __init__(self, blob: Any, at: str, generation: int) -> None:
        self._at = at
        self._writer = _Resumable(
            blob,
            chunk_size=GcsBucket.part_bytes,
            content_type=_TYPE,
            if_generation_match=generation,
            checksum="crc32c",
            timeout=TIMEOUT_S,
            retry=_RETRY,
        )

    def part(self, number: int, data: memoryview) -> None:
        """In their order."""
        del number
        with _in_the_bucket(self._at):
            self._writer.write(data)

    def complete(self) -> None:
        """The last chunk; the checksum of all of them is compared."""
        with _in_the_bucket(self._at):
            self._writer.close()

    def abort(self) -> None:
        """Tells Google, which would forget it in a week."""
        with contextlib.suppress(StoreError), typed_errors(self._at):
            self._writer.terminate()


class _Resumable(BlobWriter):  # type: ignore[misc]
    """Of Google's library, whose files complete themselves when they are forgotten: what was given up must never be visible."""

    def __del__(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class _Made:
    client: Any
    identity: Any
    session: Any


class _Filled(io.RawIOBase):
    """A file for Google's library, which fills a buffer."""

    def __init__(self, buffer: memoryview) -> None:
        super().__init__()
        self._buffer, self._at = buffer, 0

    def write(self, data: Any) -> int:
        """The next bytes of the answer."""
        size = len(data)
        self._buffer[self._at : self._at + size] = data
        self._at += size
        return size

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """How much came, for an answer that is asked for again from where it broke off."""
        return self._at

    def must_be_full(self, name: str) -> None:
        """StoreFailedError when the answer was shorter than asked for."""
        if self._at != self._buffer.nbytes:
            raise StoreFailedError(f"{name}: {self._at} bytes came where {self._buffer.nbytes} were asked for")


def _generation(expected: str | None) -> int:
    """What a condition names; 0 is what is not there."""
    if expected is None:
        return 0
    if not expected.isdecimal() or not int(expected):
        raise ConflictError(f"{expected!r} is no generation")
    return int(expected)


def _identity(files: Mapping[str, str], scopes: tuple[str, ...], *, anonymous: bool) -> Any:
    """Who asks: by the file, else, at an endpoint that has a folder without one (an emulator), nobody, else as Google's libraries find it."""
    if KEY_FILE in files:
        said = json.loads(files[KEY_FILE])
        match said.get("type") if isinstance(said, dict) else None:
            case "service_account":
                return service_account.Credentials.from_service_account_info(said, scopes=scopes)
            case "external_account":
                return identity_pool.Credentials.from_info(said).with_scopes(scopes)
            case other:
                kinds = "'service_account' and 'external_account' are understood"
                raise StoreDeniedError(f"{KEY_FILE} has credentials of type {other!r}: {kinds}")
    if anonymous:
        return tokens.AnonymousCredentials()
    return google.auth.default(scopes=scopes)[0]


def _signer(identity: Any) -> dict[str, str]:
    """Who signs where there is no private key at hand: IAM, for the identity's own account."""
    if isinstance(identity, tokens.Signing):
        return {}
    email = getattr(identity, "service_account_email", None)
    if not email:
        raise UnfitStoreError(f"these credentials cannot sign URLs: {_SIGNER}")
    if not identity.valid or email == "default":
        identity.refresh(Request())
    return {"service_account_email": identity.service_account_email, "access_token": identity.token}


@contextmanager
def _in_the_bucket(what: str, expected: str | None = None) -> Iterator[None]:
    """The same, where what is missing can only be the bucket, or, of a write, the object that was expected."""
    try:
        with typed_errors(what):
            yield
    except MissingError as error:
        if expected is not None:
            raise ConflictError(str(error)) from error
        raise UnfitStoreError(f"{what}: there is no such bucket") from error


@contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """Turns the library's errors into this package's."""
    try:
        yield
    except answers.GoogleAPICallError as error:
        raise _typed(what, error.code, error.message) from error
    except InvalidResponse as error:
        raise _typed(what, error.response.status_code, str(error)) from error
    except auth_errors.TransportError as error:
        raise StoreFailedError(_told(what, error)) from error
    except (auth_errors.GoogleAuthError, ValueError) as error:
        raise StoreDeniedError(_told(f"{what}: the credentials do not do", error)) from error
    except (answers.RetryError, DataCorruption, requests.RequestException, OSError) as error:
        raise StoreFailedError(_told(what, error)) from error


def _told(what: str, error: object) -> str:
    return _SESSION.sub("upload_id=...", f"{what}: {error}")[:_MOST]


def _typed(what: str, code: int | None, message: str) -> StoreError:
    text = _told(what, message)
    match code:
        case 404 if "bucket does not exist" in message:
            return UnfitStoreError(text)
        case 404:
            return MissingError(f"{what}: there is no such object")
        case 412:
            return ConflictError(text)
        case 401 | 403:
            return StoreDeniedError(text)
        case 400 if _KMS in message:
            return StoreDeniedError(text)
        case _:
            return StoreFailedError(text)
