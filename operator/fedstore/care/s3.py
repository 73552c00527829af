"""Reads and sets what a bucket of S3 should be like, setting by setting. Called by `fedloom storage init` and `check`, and the aggregator.

What a server does not have, or these credentials may not ask, is told for that setting, and the others go on. Rules are not
believed where they can be tried: a policy that a server takes and ignores counts as missing. (The aggregator tries nothing.)
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from fedapi.crd.job_status import Topic
from fedapi.wire.location import S3
from fedstore import s3errors
from fedstore.care import s3policy
from fedstore.care.comparing import holds
from fedstore.care.settings import RefusedError, Setting, Told, initialised, judged, looked_at
from fedstore.care.wanted import Finding, Wanted
from fedstore.errors import StoreDeniedError, StoreError, UnfitStoreError
from fedstore.s3 import S3Bucket

Json = dict[str, Any]
_CANNOT = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented", "UnsupportedOperation"})
_FORBIDDEN = 403
_BESIDE_RULES = ("TransitionDefaultMinimumObjectSize",)  # of a lifecycle; Amazon resets it where it is not named
_ABSENT = frozenset(
    {
        "NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration", "OwnershipControlsNotFoundError", "ReplicationConfigurationNotFoundError",
        "NoSuchEncryptionConfiguration",
    }
)  # fmt: skip


class S3Tags:
    """The tag by which models become cold, on objects of one prefix."""

    def __init__(self, place: S3, credentials: Path | None) -> None:
        self._place = place
        self._from = f"the folder {credentials}" if credentials else "what the SDK finds in the environment"
        self._store = S3Bucket(place, credentials)

    def mark(self, key: str, *, cold: bool) -> bool:
        """Sets or removes it; whether that was a change. Other people's tags stay."""
        where = {"Bucket": self._place.bucket, "Key": f"{self._place.prefix}/{key}" if self._place.prefix else key}
        try:
            there = self._store.client.get_object_tagging(**where)["TagSet"]
            wanted = [tag for tag in there if tag["Key"] != s3policy.COLD_TAG]
            wanted += [{"Key": s3policy.COLD_TAG, "Value": "yes"}] if cold else []
            if wanted == there:
                return False
            self._store.client.put_object_tagging(**where, Tagging={"TagSet": wanted})
        except s3errors.SDK_ERRORS as error:
            raise s3errors.typed(error, f"tags of {key}", self._from) from error
        return True


class S3Care:
    """Of one prefix."""

    def __init__(self, place: S3, credentials: Path | None, wanted: Wanted) -> None:
        self._place, self._wanted = place, wanted
        self._from = f"the folder {credentials}" if credentials else "what the SDK finds in the environment"
        self._store = S3Bucket(place, credentials)

    def check(self, *, by_writing: bool = True) -> Iterator[Finding]:
        """What is there, setting by setting. `by_writing`: whether the policy is tried by empty objects, or only read."""
        return looked_at(self._settings(by_writing=by_writing))

    def init(self) -> Iterator[Finding]:
        """Sets what is missing, and looks again. UnfitStoreError where the bucket was set up for another prefix."""
        self._refuse_another_prefix()
        yield from initialised(self._settings())

    def by_hand(self) -> str:
        """Everything can be set from here."""
        return ""

    def _refuse_another_prefix(self) -> None:
        """Policy and lifecycle are the bucket's: what they say of ours would be taken from the other prefix."""
        with suppress(ClientError):  # what may not be asked here is told for each setting
            if other := s3policy.elsewhere(self._place, self._policy(), self._rules()):
                raise UnfitStoreError(
                    f"s3://{self._place.bucket} is set up for {other}, and would lose that: use a bucket of its own, or remove "
                    f"the policy's statements {s3policy.SID}* and the lifecycle's rules {s3policy.RULE}* first"
                )

    def _settings(self, *, by_writing: bool = True) -> Iterator[Setting]:
        place, wanted = self._place, self._wanted
        if wanted.regions:
            yield self._setting("in an allowed region", "Residency", self._outside)
        yield self._setting("no public access", "PublicAccess", self._public, self._block_public)
        yield self._setting("no access lists", "Access", self._owned_by_others, self._own)
        yield self._setting("encrypted by default (SSE-KMS)", "Encryption", self._plain, self._encrypt)
        yield self._setting("versions are kept", "Versioning", self._unversioned, self._version)
        for what, statement in s3policy.statements(place, wanted).items():
            yield self._statement(what, statement)
        if by_writing:
            yield self._setting("the policy is enforced", "Access", self._unenforced)
        for what, rule in s3policy.rules(place, wanted).items():
            yield self._rule(what, rule)
        if wanted.replicate_to:
            yield self._setting("replicated", "Replication", self._alone, self._replicate)
        yield self._setting("access is logged", "Logging", self._unlogged)

    def _setting(
        self, what: str, topic: Topic, lacks: Callable[[], str], set_: Callable[[], None] | None = None
    ) -> Setting:
        """`lacks` says what is missing of it. Answers that are about this setting alone are told of it, and the others go on."""

        def look() -> Told:
            try:
                return judged(lacks())
            except ClientError as error:
                return self._refused(what, error)

        def brought_about(by: Callable[[], None]) -> None:
            try:
                by()
            except ClientError as error:
                raise RefusedError(self._not_set(what, error)) from error

        return Setting(what, topic, look, partial(brought_about, set_) if set_ else None)

    def _not_set(self, what: str, error: ClientError) -> Told:
        """Of a setting that is refused as it is."""
        answer = s3errors.Answer.of(error)
        if answer.code in s3errors.CREDENTIALS or answer.code in _CANNOT or answer.status in {403, 405, 501}:
            return self._refused(what, error)
        return Told("missing", f"the server refuses it: {answer.code}: {answer.message}"[:200])

    def _refused(self, what: str, error: ClientError) -> Told:
        """What cannot be asked or set here. StoreError where the answer is about the whole store."""
        answer = s3errors.Answer.of(error)
        said = f"{answer.code}: {answer.message}"[:200]
        if answer.code in _CANNOT or answer.status in {405, 501}:
            return Told("cannot", said)
        if answer.status == _FORBIDDEN and answer.code not in s3errors.CREDENTIALS:
            return Told("unknown", f"{said}; the credentials may not ask")
        raise s3errors.typed(error, f"{what} of s3://{self._place.bucket}", self._from) from error

    def _ask(self, call: str, **what: Any) -> Json:
        """An answer; empty where nothing is set."""
        try:
            answer: Json = getattr(self._store.client, call)(Bucket=self._place.bucket, **what)
        except ClientError as error:
            if s3errors.Answer.of(error).code in _ABSENT:
                return {}
            raise
        except s3errors.SDK_ERRORS as error:  # no answer at all
            raise s3errors.typed(error, f"s3://{self._place.bucket}", self._from) from error
        return answer

    # Region.

    def _outside(self) -> str:
        region = self._store.region() or self._ask("get_bucket_location").get("LocationConstraint") or "us-east-1"
        allowed = {each.lower() for each in self._wanted.regions}
        return (
            ""
            if region.lower() in allowed
            else f"it is in {region}: make a bucket in one of {', '.join(sorted(allowed))}"
        )

    # Who comes in at all.

    def _public(self) -> str:
        told = self._ask("get_public_access_block").get("PublicAccessBlockConfiguration")
        return "" if holds(told, s3policy.PUBLIC_ACCESS) else "the public is not kept out"

    def _block_public(self) -> None:
        self._ask("put_public_access_block", PublicAccessBlockConfiguration=s3policy.PUBLIC_ACCESS)

    def _owned_by_others(self) -> str:
        told = self._ask("get_bucket_ownership_controls").get("OwnershipControls")
        return "" if holds(told, s3policy.OWNERSHIP) else "access lists of objects count"

    def _own(self) -> None:
        self._ask("put_bucket_ownership_controls", OwnershipControls=s3policy.OWNERSHIP)

    # What becomes of an object.

    def _plain(self) -> str:
        told = self._ask("get_bucket_encryption").get("ServerSideEncryptionConfiguration") or {}
        (wanted,) = s3policy.encryption(self._wanted)["Rules"]
        chosen = {"ApplyServerSideEncryptionByDefault": wanted["ApplyServerSideEncryptionByDefault"]}
        return "" if holds(told.get("Rules"), [chosen]) else "objects are not encrypted with that key by default"

    def _encrypt(self) -> None:
        self._ask("put_bucket_encryption", ServerSideEncryptionConfiguration=s3policy.encryption(self._wanted))

    def _unversioned(self) -> str:
        return "" if self._ask("get_bucket_versioning").get("Status") == "Enabled" else "what is deleted is gone"

    def _version(self) -> None:
        self._ask("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    # The policy.

    def _policy(self) -> Json | None:
        text = self._ask("get_bucket_policy").get("Policy")
        return json.loads(text) if text else None

    def _statement(self, what: str, statement: Json) -> Setting:
        def lacks() -> str:
            return "" if s3policy.stated(self._policy(), statement) else "the bucket's policy does not say it"

        def set_() -> None:
            before, could = self._policy(), self._can_write()
            self._ask("put_bucket_policy", Policy=json.dumps(s3policy.merged_policy(before, statement)))
            if could and not self._can_write():
                if before:
                    self._ask("put_bucket_policy", Policy=json.dumps(before))
                else:
                    self._ask("delete_bucket_policy")
                undone = "by this the server denies writes as Fedloom makes them, so it was taken back"
                raise RefusedError(Told("missing", undone))

        return self._setting(f"policy: {what}", s3policy.TOPICS.get(what, "Access"), lacks, set_)

    def _can_write(self) -> bool:
        """At once, and in parts. Not every server understands every condition."""
        name = self._trial_name()
        try:
            tag = self._store.put_unprobed(name, b"", None, {})
            upload = self._store.upload_unprobed(name, tag, {})
            try:
                upload.part(1, memoryview(b"1"))
                upload.complete()
            finally:
                upload.abort()
        except StoreDeniedError:
            return False
        finally:
            with suppress(StoreError):
                self._store.delete(name)
        return True

    def _trial_name(self) -> str:
        """Of an object by which something is tried, below the prefix."""
        below = f"updates/fedloom-check/{secrets.token_hex(8)}"
        return f"{self._place.prefix}/{below}" if self._place.prefix else below

    def _unenforced(self) -> str:
        """Tries, below the prefix, what the policy forbids. Where nothing may be written at all, nothing is known."""
        name = self._trial_name()
        self._ask("put_object", Key=name, Body=b"", IfNoneMatch="*")
        try:
            ignored = [
                what
                for what, more in (
                    ("writes without a condition", {}),
                    ("another encryption", {"ServerSideEncryption": "AES256", "IfNoneMatch": "*"}),
                )
                if self._accepts(f"{name}-{len(more)}", more)
            ]
        finally:
            with suppress(ClientError):
                self._ask("delete_object", Key=name)
        return f"the server takes {' and '.join(ignored)}" if ignored else ""

    def _accepts(self, name: str, more: Json) -> bool:
        try:
            self._ask("put_object", Key=name, Body=b"", **more)
        except ClientError as error:
            if s3errors.Answer.of(error).status == _FORBIDDEN:
                return False
            raise
        with suppress(ClientError):
            self._ask("delete_object", Key=name)
        return True

    # The lifecycle.

    def _rules(self) -> list[Json]:
        rules: list[Json] = self._ask("get_bucket_lifecycle_configuration").get("Rules") or []
        return rules

    def _rule(self, what: str, rule: Json) -> Setting:
        def lacks() -> str:
            return "" if holds(self._rules(), [rule]) else "the bucket's lifecycle does not say it"

        def set_() -> None:
            told = self._ask("get_bucket_lifecycle_configuration")
            theirs = {name: told[name] for name in _BESIDE_RULES if name in told}
            rules = s3policy.merged_rules(told.get("Rules") or [], rule)
            self._ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules}, **theirs)

        return self._setting(what, "Lifecycle", lacks, set_)

    # Elsewhere.

    def _alone(self) -> str:
        told = self._ask("get_bucket_replication").get("ReplicationConfiguration") or {}
        wanted = {"Status": "Enabled", "Destination": {"Bucket": self._wanted.replicate_to}}
        return "" if holds(told.get("Rules"), [wanted]) else f"nothing goes to {self._wanted.replicate_to}"

    def _replicate(self) -> None:
        """One request sets all rules, and one role carries them out."""
        told = self._ask("get_bucket_replication").get("ReplicationConfiguration") or {}
        if others := s3policy.replication_of_others(told):
            named = f"rules of others ({', '.join(others)})"
            raise RefusedError(
                Told("missing", f"the bucket has {named}, which would be lost: add one for this prefix by hand")
            )
        configuration = s3policy.replication(self._place, self._wanted)
        self._ask("put_bucket_replication", ReplicationConfiguration=configuration)

    def _unlogged(self) -> str:
        target = (self._ask("get_bucket_logging").get("LoggingEnabled") or {}).get("TargetBucket")
        return "" if target else "nobody sees later who read what: choose a bucket for the log yourself"
