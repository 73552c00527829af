"""The bucket of Azure Blob Storage, a container (azure-storage-blob, azure-identity). Called by opening.py.

The tag of an object is its ETag. Large objects are blocks, committed on a condition; two writers of one name must not share blocks, so
each names its own. Azure forgets blocks that nobody commits after a week. URLs are signed with the account's key, or, with an identity
of Entra ID, with a delegation key that the service gives for a while.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.storage.blob import (
    BlobBlock,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ExponentialRetry,
    generate_blob_sas,
)

from fedapi.wire.location import Azure
from fedapi.wire.message import ObjectRef
from fedstore import connections
from fedstore.bucket import SHA256, ConflictError, Stat
from fedstore.credentials import CA_FILE, OfCredentials
from fedstore.errors import MissingError, StoreDeniedError, StoreError, StoreFailedError, UnfitStoreError
from fedstore.presigning import Presigned

KEY_FILE = "AZURE_STORAGE_KEY"
_CLIENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
_PUBLIC = "https://{}.blob.core.windows.net"
_DELEGATED = timedelta(hours=24)  # a key that signs URLs; the service gives it for a week at most
_CONFLICTS = {
    "BlobAlreadyExists",
    "ConditionNotMet",
    "TargetConditionNotMet",
    "UnauthorizedBlobOverwrite",
    "BlobImmutableDueToPolicy",
    "InvalidBlockList",
}
_ABSENT = {"ContainerNotFound", "ContainerBeingDeleted"}
_KEY_GONE = "KeyVault"  # in the code of an answer that is about the key which encrypts
_MOST = 500  # characters of an error
_TRIES = 4  # after the first, within half a minute: longer outages are the caller's, who tells them and waits


COLD = "Archive"


class AzureBucket:
    """Blobs by ETag."""

    part_bytes, most_parts, threads = 4 << 20, 50_000, 4
    largest_put_bytes = 5000 << 20

    def __init__(self, place: Azure, credentials: Path | None) -> None:
        self._place = place
        self._folder = credentials
        self._url = (place.endpoint or _PUBLIC.format(place.account)).rstrip("/")
        self._scope = {"encryption_scope": place.encryption_scope} if place.encryption_scope else {}
        self._clients = OfCredentials(credentials, self._client)
        self._delegation = _Delegation()

    def put(self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]) -> str:
        """One request; the service compares the MD5 that goes with it."""
        with typed_errors(self._at(name)):
            answer = self._blob(name).upload_blob(
                bytes(data),
                length=len(data),
                overwrite=True,
                metadata=dict(metadata),
                validate_content=True,
                **_condition(expected),
                **self._scope,
            )
        return str(answer["etag"])

    def upload(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> "AzureUpload":
        """The condition is for the commit of the blocks."""
        return AzureUpload(self._blob(name), self._at(name), {**_condition(expected), **self._scope}, metadata)

    def stat(self, name: str) -> Stat | None:
        """By the blob's properties."""
        try:
            with typed_errors(self._at(name)):
                found = self._blob(name).get_blob_properties()
        except MissingError:
            return None
        return Stat(found.size, str(found.etag), dict(found.metadata or {}))

    def get(self, name: str) -> tuple[bytes, str]:
        """The answer says which ETag it is."""
        with typed_errors(self._at(name)):
            stream = self._blob(name).download_blob(max_concurrency=1)
            return stream.readall(), str(stream.properties.etag)

    def read_into(self, name: str, tag: str, buffer: memoryview, offset: int) -> None:
        """On the condition that it has not changed."""
        try:
            with typed_errors(self._at(name)):
                stream = self._blob(name).download_blob(
                    offset,
                    buffer.nbytes,
                    etag=tag,
                    match_condition=MatchConditions.IfNotModified,
                    max_concurrency=1,
                )
                data = stream.readall()
        except (ConflictError, MissingError) as error:
            raise StoreFailedError(f"{self._at(name)}: the object has changed while it was read") from error
        if len(data) != buffer.nbytes:
            raise StoreFailedError(f"{self._at(name)}: {len(data)} bytes came where {buffer.nbytes} were asked for")
        buffer[:] = data

    def names(self, prefix: str) -> Iterator[str]:
        """A page at a time."""
        with typed_errors(self._at(prefix)):
            yield from self.container.list_blob_names(name_starts_with=prefix)

    def delete(self, name: str) -> None:
        """With its snapshots."""
        with contextlib.suppress(MissingError), typed_errors(self._at(name)):
            self._blob(name).delete_blob(delete_snapshots="include")

    @property
    def thaw_takes(self) -> str:
        """Of a rehydration with standard priority, as Microsoft says it."""
        return "up to 15 hours"

    def freeze(self, name: str) -> None:
        """To the Archive tier."""
        with typed_errors(self._at(name)):
            if self._blob(name).get_blob_properties().blob_tier != COLD:
                self._blob(name).set_standard_blob_tier(COLD)

    def thawed(self, name: str) -> bool:
        """Back to the Hot tier, once."""
        with typed_errors(self._at(name)):
            there = self._blob(name).get_blob_properties()
            if there.blob_tier != COLD:
                return True
            if not there.archive_status:
                self._blob(name).set_standard_blob_tier("Hot")
            return False

    def abandon(self, prefix: str) -> None:
        """Azure does it by itself."""

    def ca(self) -> str:
        """Of an endpoint that no public authority vouches for."""
        return self._clients.files().get(CA_FILE, "")

    def region(self) -> str:
        """An account does not say it where its blobs are."""
        return ""

    def presigned_get(self, name: str, now: float, lifetime_s: float) -> Presigned:
        """A shared access signature to read; ranges may be asked for."""
        return self._signed("GET", name, now, lifetime_s, BlobSasPermissions(read=True), {})

    def presigned_put(self, name: str, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """One to create, which does not replace what is there. Azure binds neither size nor headers: `arrived` looks at both."""
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "content-type": "application/octet-stream",
            "if-none-match": "*",
            f"x-ms-meta-{SHA256}": ref.sha256,
        }
        return self._signed("PUT", name, now, lifetime_s, BlobSasPermissions(create=True), headers)

    def _signed(
        self, method: str, name: str, now: float, lifetime_s: float, permission: Any, headers: dict[str, str]
    ) -> Presigned:
        made = self._clients.now()
        expiry = datetime.fromtimestamp(now + lifetime_s, UTC)
        with typed_errors(f"a URL of {self._at(name)}"):
            sas = generate_blob_sas(
                self._place.account,
                self._place.container,
                name,
                permission=permission,
                expiry=expiry,
                protocol="https",
                **({"account_key": made.key} if made.key else self._delegation.until(made.service, expiry)),
                **self._scope,
            )
        return Presigned(method, f"{self._url}/{self._place.container}/{name}?{sas}", expiry.timestamp(), headers)

    def _at(self, name: str) -> str:
        return f"az://{self._place.account}/{self._place.container}/{name}"

    @property
    def service(self) -> BlobServiceClient:
        """The SDK's, by the credentials as they are: for settings of the account (care/)."""
        return self._clients.now().service

    @property
    def container(self) -> ContainerClient:
        """The SDK's, in the same way."""
        return self.service.get_container_client(self._place.container)

    @property
    def by_key(self) -> bool:
        """Whether a key of the account asks, and no identity."""
        return bool(self._clients.now().key)

    def _blob(self, name: str) -> Any:
        return self.container.get_blob_client(name)

    def _client(self, files: Mapping[str, str]) -> "_Made":
        said = files if self._folder is not None else os.environ
        key = said.get(KEY_FILE, "")
        session = requests.Session()
        connections.keep(session, self._folder / CA_FILE if self._folder is not None and CA_FILE in files else None)
        with typed_errors(self._place.text()):
            service = BlobServiceClient(
                self._url,
                credential=AzureNamedKeyCredential(self._place.account, key) if key else _identity(files),
                transport=RequestsTransport(session=session, session_owner=False),
                connection_timeout=5,
                read_timeout=60,
                retry_policy=ExponentialRetry(
                    initial_backoff=1, increment_base=2, retry_total=_TRIES, random_jitter_range=1
                ),
                max_single_put_size=self.part_bytes,
                max_single_get_size=self.part_bytes,
                max_chunk_get_size=self.part_bytes,
            )
        return _Made(service, key)


class AzureUpload:
    """Blocks that are not committed yet."""

    def __init__(self, blob: Any, at: str, options: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        self._blob, self._at, self._options, self._metadata = blob, at, options, metadata
        self._own = secrets.token_hex(8)
        self._numbers: set[int] = set()
        self._scope = {name: value for name, value in options.items() if name == "encryption_scope"}

    def part(self, number: int, data: memoryview) -> None:
        """In any order."""
        with typed_errors(self._at):
            self._blob.stage_block(
                self._block(number), bytes(data), length=data.nbytes, validate_content=True, **self._scope
            )
        self._numbers.add(number)

    def complete(self) -> None:
        """In theirs. Blocks that another writer's commit swept away are a conflict, as is what that writer made."""
        blocks = [BlobBlock(self._block(number)) for number in sorted(self._numbers)]
        with typed_errors(self._at):
            self._blob.commit_block_list(blocks, metadata=dict(self._metadata), **self._options)

    def abort(self) -> None:
        """Nothing can take blocks back alone."""

    def _block(self, number: int) -> str:
        return f"{self._own}-{number:05d}"


@dataclass(frozen=True)
class _Made:
    service: BlobServiceClient
    key: str  # of the account; empty where an identity asks


class _Delegation:
    """The key that the service gives an identity to sign URLs with, asked for again before it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: tuple[Any, datetime, Any] | None = None

    def until(self, service: BlobServiceClient, expiry: datetime) -> dict[str, Any]:
        """One that lives at least so long, as an argument: a URL dies with its key."""
        with self._lock:
            if self._given is None or self._given[0] is not service or self._given[1] < expiry:
                now = datetime.now(UTC)
                end = max(now + _DELEGATED, expiry + timedelta(minutes=5))
                key = service.get_user_delegation_key(now - timedelta(minutes=5), end)
                self._given = (service, end, key)
            return {"user_delegation_key": self._given[2]}


def _identity(files: Mapping[str, str]) -> Any:
    """Who asks: by a client secret of the folder, else as Azure's libraries find it (workload identity, the command line's login)."""
    if all(name in files for name in _CLIENT):
        tenant, client, secret = (files[name] for name in _CLIENT)
        authority = {"authority": files["AZURE_AUTHORITY_HOST"]} if "AZURE_AUTHORITY_HOST" in files else {}
        return ClientSecretCredential(tenant, client, secret, **authority)
    return DefaultAzureCredential()


def _condition(expected: str | None) -> dict[str, Any]:
    if expected is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": expected, "match_condition": MatchConditions.IfNotModified}


@contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """Turns the library's errors into this package's."""
    try:
        yield
    except HttpResponseError as error:
        raise _typed(what, error) from error
    except (AzureError, requests.RequestException, OSError) as error:
        raise StoreFailedError(f"{what}: {error}"[:_MOST]) from error
    except ValueError as error:
        raise StoreDeniedError(f"{what}: the credentials do not do: {error}"[:_MOST]) from error


def _typed(what: str, error: HttpResponseError) -> StoreError:
    code, status = getattr(error, "error_code", None) or "", error.status_code
    code = str(getattr(code, "value", code))  # the library has an enumeration of those that it knows
    text = f"{what}: {code} {(error.message or '').splitlines()[0] if error.message else status}"[:_MOST]
    if code in _CONFLICTS or status == 412:
        return ConflictError(text)
    if code in _ABSENT:
        return UnfitStoreError(text)
    if status == 404:
        return MissingError(f"{what}: there is no such object")
    no_token = isinstance(error, ClientAuthenticationError) and status is None
    if status in {401, 403} or _KEY_GONE in code or no_token:
        return StoreDeniedError(text)
    return StoreFailedError(text)
