"""The S3 adapter: a bucket of Amazon S3, or of what speaks its protocol, by boto3. Opened by opening.py.

Writes are conditional (If-None-Match, If-Match) and carry the SHA-256 of what is sent, which the server checks. A server
that ignores conditions is found out before the first write (fitness.py). The SDK retries a few times what may pass, with jitter.
"""

import hashlib
import random
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fedapi.wire.location import S3
from fedapi.wire.message import ObjectRef
from fedstore import fitness, s3errors
from fedstore.bucket import SHA256, ConflictError, Stat
from fedstore.credentials import OfCredentials
from fedstore.errors import (
    MissingError,
    StoreDeniedError,
    StoreError,
    StoreFailedError,
    UnfitStoreError,
)
from fedstore.fencing import WRITE_S, Fence
from fedstore.presigning import Presigned
from fedstore.s3access import Access
from fedstore.s3errors import ContendedError, RefusedError
from fedstore.s3expiring import Clocks

_TRIES = 4  # of a body that breaks off; of a write that meets another one
_PIECE_BYTES = 256 << 10  # of a body, copied at once

COLD = ("GLACIER", "DEEP_ARCHIVE")  # classes of objects that must be asked for
THAWED_DAYS = 7  # that an object which was asked for stays readable

Json = dict[str, Any]


class S3Bucket:
    """Objects of one bucket. Where its place has a fence, the server has no conditional writes, and who writes is alone.

    `fence` says whether it is. A condition is then a look, and an object is put by a URL that soon expires: a process that is
    paused between the two has it refused.
    """

    part_bytes, most_parts, threads = 8 << 20, 10_000, 4
    largest_put_bytes = 5 << 30

    def __init__(self, place: S3, credentials: Path | None = None, fence: Fence | None = None) -> None:
        self.place, self._conditional, self._fence = place, not place.fence, fence
        self._clocks = Clocks()
        self._from = f"the folder {credentials}" if credentials else "what the SDK finds in the environment"
        self._kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": place.kms_key} if place.kms_key else {}
        self._access = OfCredentials(credentials, lambda files: Access(place, credentials, files))
        self._found: fitness.Found | None = None
        self._probing = threading.Lock()

    def put(self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]) -> str:
        """PutObject."""
        self._probe()
        return self.put_unprobed(name, data, expected, metadata)

    def upload(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> "S3Upload":
        """A multipart upload; its condition is that of its completion."""
        self._probe()
        return self.upload_unprobed(name, expected, metadata)

    def stat(self, name: str) -> Stat | None:
        """HeadObject. What is missing it does not say, so then the bucket is asked for."""
        try:
            told = self.ask(name, "head_object", **self.of(name), ChecksumMode="ENABLED")
        except MissingError:
            self._require_bucket()
            return None
        return Stat(told["ContentLength"], told["ETag"], told.get("Metadata", {}), self._checked_sha256(told))

    def get(self, name: str) -> tuple[bytes, str]:
        """GetObject, all of it."""
        failures = 0
        while True:
            told = self.ask(name, "get_object", **self.of(name))
            try:
                with closing(told["Body"]) as body:
                    return body.read(), told["ETag"]
            except s3errors.BROKEN_OFF as error:
                failures += 1
                if failures == _TRIES:
                    raise self._typed(error, name) from error

    def read_into(self, name: str, tag: str, buffer: memoryview, offset: int) -> None:
        """GetObject of a range; what breaks off is gone on with where it did."""
        at, end = offset, offset + buffer.nbytes
        failures = 0
        while at < end:
            told = self._range(name, tag, at, end)
            try:
                with closing(told["Body"]) as body:
                    while count := body.readinto(buffer[at - offset :][:_PIECE_BYTES]):
                        at += count
                if at < end:
                    raise ConnectionError(f"fewer bytes came than were said: {end - at} are missing")
            except s3errors.BROKEN_OFF as error:
                failures += 1
                if failures == _TRIES:
                    raise self._typed(error, name) from error

    def names(self, prefix: str) -> Iterator[str]:
        """ListObjectsV2, page by page. Sorted here: not all servers list in the order of the bytes."""
        found: list[str] = []
        more: Json = {"Bucket": self.place.bucket, "Prefix": prefix}
        while True:
            told = self.ask(f"{prefix}*", "list_objects_v2", **more)
            found += (each["Key"] for each in told.get("Contents", ()))
            if not told.get("IsTruncated"):
                return iter(sorted(found))
            more["ContinuationToken"] = told["NextContinuationToken"]

    def delete(self, name: str) -> None:
        """DeleteObject."""
        if self._fence:
            self._fence.check()
        with suppress(MissingError):
            self.ask(name, "delete_object", **self.of(name))

    @property
    def thaw_takes(self) -> str:
        """Of a Standard retrieval from Glacier, as Amazon says it."""
        return "3 to 5 hours"

    def freeze(self, name: str) -> None:
        """CopyObject onto itself, of the class GLACIER; what is too large for one copy stays where it is."""
        there = self.ask(name, "head_object", **self.of(name))
        if there.get("StorageClass") in COLD or there["ContentLength"] > self.largest_put_bytes:
            return
        unchanged = {"CopySourceIfMatch": there["ETag"], "IfMatch": there["ETag"]}
        copied = {"CopySource": self.of(name), **unchanged, "StorageClass": COLD[0]}
        self.ask(name, "copy_object", **self.of(name), **copied, **self._kms)

    def thawed(self, name: str) -> bool:
        """RestoreObject, once."""
        there = self.ask(name, "head_object", **self.of(name))
        if there.get("StorageClass") not in COLD or 'ongoing-request="false"' in there.get("Restore", ""):
            return True
        if "Restore" not in there:
            wanted = {"Days": THAWED_DAYS, "GlacierJobParameters": {"Tier": "Standard"}}
            with suppress(ContendedError):  # somebody else has asked
                self.ask(name, "restore_object", **self.of(name), RestoreRequest=wanted)
        return False

    def abandon(self, prefix: str) -> None:
        """AbortMultipartUpload of all below the prefix. MinIO lists none; it forgets them by itself after a day."""
        self._probe()
        more: Json = {"Bucket": self.place.bucket, "Prefix": prefix}
        while True:
            told = self.ask(f"{prefix}*", "list_multipart_uploads", **more)
            for each in told.get("Uploads", ()):
                with suppress(ConflictError):  # it is gone
                    self.ask(each["Key"], "abort_multipart_upload", **self.of(each["Key"]), UploadId=each["UploadId"])
            if not told.get("IsTruncated"):
                return
            more |= {"KeyMarker": told["NextKeyMarker"], "UploadIdMarker": told["NextUploadIdMarker"]}

    @property
    def client(self) -> Any:
        """The SDK's, by the credentials as they are: for settings of the bucket (care/), which no other process asks for."""
        return self._access.now().client

    def region(self) -> str:
        """Where the bucket is, as the server says, else as the place does."""
        told = self._require_bucket()
        return told.get("BucketRegion") or self.place.region

    def ca(self) -> str:
        """PEM of the CA of an endpoint of one's own; empty where the public ones are meant."""
        return self._access.now().ca

    def presigned_get(self, name: str, now: float, lifetime_s: float) -> Presigned:
        """A URL to read an object."""
        return self._presigned("GET", "get_object", self.of(name), {}, now, lifetime_s)

    def presigned_put(self, name: str, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """A URL to write it once: its length, its SHA-256 and its conditions are signed."""
        checksum = _base64(ref.sha256)
        asked = {"ContentLength": ref.size, "ChecksumSHA256": checksum, **self._kms}
        headers = {"Content-Length": str(ref.size), "x-amz-checksum-sha256": checksum}
        if self._conditional:
            asked["IfNoneMatch"] = headers["If-None-Match"] = "*"
        if self._kms:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.place.kms_key
        return self._presigned("PUT", "put_object", {**self.of(name), **asked}, headers, now, lifetime_s)

    def put_unprobed(
        self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]
    ) -> str:
        """As put, of a server that is not known yet."""
        checksum = _base64(metadata.get(SHA256) or hashlib.sha256(data).hexdigest())
        asked = {"ChecksumSHA256": checksum, "Metadata": dict(metadata), **self._kms}
        if self._conditional:
            return self.write(name, expected, "put_object", **asked, Body=_body(data))
        return self._tried(lambda: self._put_alone(name, _body(data), expected, asked))

    def upload_unprobed(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> "S3Upload":
        """As upload, of a server that is not known yet."""
        options = {"ChecksumAlgorithm": "SHA256", "Metadata": dict(metadata), **self._kms}
        made = self.ask(name, "create_multipart_upload", **self.of(name), **options)
        return S3Upload(self, name, expected, made["UploadId"])

    def write(self, name: str, expected: str | None, operation: str, **asked: Any) -> str:
        """A conditional write; the new tag. ConflictError when something else is there, or nothing is."""

        def write() -> str:
            condition = self._condition(name, expected)
            return str(self.ask(name, operation, **self.of(name), **asked, **condition)["ETag"])

        return self._tried(write)

    def _tried(self, write: Callable[[], str]) -> str:
        """A write, again where another one was under way. What the SDK does not try again is tried here."""
        for left in reversed(range(_TRIES)):
            try:
                return write()
            except MissingError as error:
                raise ConflictError(str(error)) from error
            except StoreFailedError as error:
                passes = not self._conditional and not isinstance(error, StoreDeniedError | RefusedError)
                if not left or not (passes or isinstance(error, ContendedError)):
                    raise
                time.sleep(random.uniform(0, 0.2 * (_TRIES - left)))  # noqa: S311 - jitter
        raise AssertionError("the last try returns or raises")

    def _put_alone(self, name: str, body: bytes | bytearray, expected: str | None, asked: Json) -> str:
        """A look, then a put by a URL that was signed before the fence was asked: nothing arrives after the fence's time."""
        self._must_be(name, expected)
        access, signed_at = self._access.now(), time.monotonic()
        try:
            url = access.client.generate_presigned_url("put_object", {**self.of(name), **asked}, ExpiresIn=int(WRITE_S))
            if self._fence:
                self._fence.check()
            tag = access.expiring.put(url, body, asked)
        except s3errors.SDK_ERRORS as error:
            typed = self._typed(error, name)
            if isinstance(typed, StoreDeniedError) and time.monotonic() - signed_at >= WRITE_S:
                typed = StoreFailedError(
                    f"s3://{self.place.bucket}/{name} was not written: the request came too late ({error})"
                )
            raise typed from error
        there = self.stat(name)
        if there is None or there.tag != tag:
            raise ConflictError(f"s3://{self.place.bucket}/{name} is not what was just written")
        return tag

    def ask(self, name: str, operation: str, **asked: Any) -> Json:
        """One request, and its retries by the SDK; its errors as this package's."""
        sent = time.time()
        try:
            told: Json = getattr(self.client, operation)(**asked)
        except s3errors.SDK_ERRORS as error:
            typed = self._typed(error, name)
            if self._kms and operation != "head_bucket" and s3errors.is_internal(error) and self._require_bucket():
                raise StoreDeniedError(f"{typed}; {s3errors.NO_KEY}") from error  # SeaweedFS says no more than that
            raise typed from error
        if not self._conditional:
            self._clocks.note(sent, time.time(), told["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
        return told

    def of(self, name: str) -> Json:
        """An object's place, as the SDK wants it."""
        return {"Bucket": self.place.bucket, "Key": name}

    def _typed(self, error: Exception, name: str) -> StoreError:
        return s3errors.typed(error, f"s3://{self.place.bucket}/{name}", self._from)

    def _condition(self, name: str, expected: str | None) -> Json:
        if self._conditional:
            return {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        self._must_be(name, expected)
        if self._fence:
            self._fence.check()
        return {}

    def _must_be(self, name: str, expected: str | None) -> None:
        """What a condition would say, as far as a look can. StoreFailedError: a URL would not expire when it should."""
        there = self.stat(name)
        if (there.tag if there else None) != expected:
            raise ConflictError(f"s3://{self.place.bucket}/{name} is not what it was")
        if self._fence:
            self._clocks.require_agreement()

    def _probe(self) -> None:
        with self._probing:
            if self._found is None:
                prefix = f"{self.place.prefix}/" if self.place.prefix else ""
                self._found = fitness.probed(self, prefix, conditional=self._conditional)

    def _checked_sha256(self, told: Json) -> str:
        """What the server itself computed: of all of it, not of the digests of an upload's parts."""
        checksum = told.get("ChecksumSHA256", "")
        if not checksum or "-" in checksum or self._found is None or not self._found.checks_sha256:
            return ""
        return b64decode(checksum).hex()

    def _require_bucket(self) -> Json:
        """HeadBucket. UnfitStoreError when there is none; who may not ask takes it as there."""
        try:
            return self.ask("", "head_bucket", Bucket=self.place.bucket)
        except MissingError:
            raise UnfitStoreError(f"s3://{self.place.bucket}: {s3errors.NO_BUCKET}") from None
        except StoreDeniedError:
            return {}

    def _range(self, name: str, tag: str, at: int, end: int) -> Json:
        wanted = f"{at}-{end - 1}"
        try:
            told = self.ask(name, "get_object", **self.of(name), Range=f"bytes={wanted}", IfMatch=tag)
        except ConflictError as error:
            raise StoreFailedError(f"s3://{self.place.bucket}/{name} has changed while it was read") from error
        if f" {wanted}/" not in told.get("ContentRange", ""):
            told["Body"].close()
            raise StoreFailedError(f"s3://{self.place.bucket}/{name}: bytes {wanted} were asked for, others came")
        return told

    def _presigned(
        self, method: str, operation: str, asked: Json, headers: dict[str, str], now: float, lifetime_s: float
    ) -> Presigned:
        access = self._access.now()
        try:
            url = access.client.generate_presigned_url(operation, asked, ExpiresIn=int(lifetime_s))
        except s3errors.SDK_ERRORS as error:
            raise self._typed(error, asked["Key"]) from error
        return Presigned(method, url, min(now + lifetime_s, access.expires_at()), headers)


class S3Upload:
    """A multipart upload that is under way."""

    def __init__(self, bucket: S3Bucket, name: str, expected: str | None, upload_id: str) -> None:
        self._bucket, self._name, self._expected = bucket, name, expected
        self._id = {"UploadId": upload_id}
        self._parts: dict[int, Json] = {}

    def part(self, number: int, data: memoryview) -> None:
        """UploadPart."""
        checksum = _base64(hashlib.sha256(data).hexdigest())
        asked = {**self._bucket.of(self._name), **self._id, "PartNumber": number, "ChecksumSHA256": checksum}
        told = self._bucket.ask(self._name, "upload_part", **asked, Body=_body(data))
        self._parts[number] = {"PartNumber": number, "ETag": told["ETag"], "ChecksumSHA256": checksum}

    def complete(self) -> None:
        """CompleteMultipartUpload."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        asked = {**self._id, "MultipartUpload": {"Parts": parts}}
        self._bucket.write(self._name, self._expected, "complete_multipart_upload", **asked)

    def abort(self) -> None:
        """AbortMultipartUpload."""
        with suppress(StoreError):
            self._bucket.ask(self._name, "abort_multipart_upload", **self._bucket.of(self._name), **self._id)


def _base64(digest: str) -> str:
    return b64encode(bytes.fromhex(digest)).decode()


def _body(data: bytes | memoryview) -> bytes | bytearray:
    """Without a copy, where all of a buffer is meant."""
    if isinstance(data, memoryview):
        whole = data.obj
        return whole if isinstance(whole, bytes | bytearray) and len(whole) == data.nbytes else bytes(data)
    return data
