"""Reads and sets what a bucket of Google Cloud Storage should be like. Called through opening.py.

Speaks the JSON API by the session of Google's library: a bucket's settings are one document there. A document that lacks what Google
always tells is an emulator's: that is not known, rather than missing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fedapi.wire.location import Gcs
from fedstore import gcs as bucket
from fedstore.care import gcspolicy
from fedstore.care.settings import RefusedError, Setting, Told, initialised, judged, looked_at
from fedstore.care.wanted import Finding, Wanted
from fedstore.errors import MissingError, StoreDeniedError, StoreFailedError, UnfitStoreError
from fedstore.gcs import GcsBucket

Json = dict[str, Any]
_SCOPES = ("https://www.googleapis.com/auth/devstorage.full_control",)
_UNTOLD = "the store does not tell"
_REPLICATED = ("dual-region", "multi-region")
_ENFORCED = ("googleManagedEncryptionEnforcementConfig", "customerSuppliedEncryptionEnforcementConfig")
_STRICT = {"restrictionMode": "FullyRestricted"}


class _Api:
    """Of one bucket."""

    def __init__(self, place: Gcs, credentials: Path | None) -> None:
        self._place, self._bucket = place, GcsBucket(place, credentials, _SCOPES)

    def ask(self, method: str, path: str = "", body: Json | None = None, **query: str | int) -> Json:
        """One request. RefusedError where it is about this part of the bucket alone, else as the store's own adapter."""
        at = f"gs://{self._place.bucket}{path}"
        with bucket.typed_errors(at):
            url = f"{self._bucket.base_url}/storage/v1/b/{quote(self._place.bucket, safe='')}{path}"
            answer = self._bucket.session.request(
                method, url, json=body, params=query or None, timeout=bucket.TIMEOUT_S
            )
        if answer.status_code < 300:
            return _json(answer.text, answer.json)
        raise _refused(method, at, answer.status_code, f"{answer.status_code}: {_words(answer)}"[:300])


def _json(text: str, parsed: Callable[[], Any]) -> Json:
    try:
        found = parsed() if text.strip() else {}
    except ValueError as error:
        raise RefusedError(Told("cannot", f"the store answered with {text[:60]!r}")) from error
    return found if isinstance(found, dict) else {}


def _words(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)


def _refused(method: str, at: str, code: int, said: str) -> Exception:
    """What an answer says: of one setting, or of the whole store."""
    whole = at.count("/") == 2
    if code == 403:
        return RefusedError(Told("unknown", f"{said}; the credentials may not ask"))
    if code == 404 and (whole or "/o/" in at):
        return (
            UnfitStoreError(f"{at}: there is no such bucket")
            if whole
            else MissingError(f"{at}: there is no such object")
        )
    if code in {404, 405, 501}:
        return RefusedError(Told("cannot", said))
    if code in {400, 409, 412} and method != "GET":
        return RefusedError(Told("missing", f"the store refuses it: {said}"))
    return (StoreDeniedError if code == 401 else StoreFailedError)(f"{at}: {said}")


class GcsCare:
    """Of one prefix of a bucket."""

    def __init__(self, place: Gcs, credentials: Path | None, wanted: Wanted) -> None:
        self._place, self._wanted = place, wanted
        self._api = _Api(place, credentials)
        self._told: Json | None = None

    def check(self, *, by_writing: bool = True) -> Iterator[Finding]:
        """What is there. Nothing of it has to be tried."""
        del by_writing
        return looked_at(self._settings())

    def init(self) -> Iterator[Finding]:
        """Sets what is missing. What others have set stays."""
        return initialised(self._settings())

    def by_hand(self) -> str:
        """Everything can be set from here."""
        return ""

    def _settings(self) -> Iterator[Setting]:
        wanted, place = self._wanted, self._place
        if wanted.regions:
            yield Setting("in an allowed region", "Residency", self._region)
        yield Setting(
            "no public access",
            "PublicAccess",
            lambda: self._iam_configuration(_is("publicAccessPrevention", "enforced"), "the public is not kept out"),
            lambda: self._patch({"iamConfiguration": {"publicAccessPrevention": "enforced"}}),
        )
        yield Setting(
            "no access lists",
            "Access",
            lambda: self._iam_configuration(
                lambda found: (found.get("uniformBucketLevelAccess") or {}).get("enabled") is True,
                "access lists of objects count",
            ),
            lambda: self._patch({"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}),
        )
        yield Setting("encrypted by default", "Encryption", self._encryption, self._encrypt)
        if place.kms_key:
            yield Setting("no other encryption", "Encryption", self._other_encryption, self._forbid_other_encryption)
        yield Setting(
            "versions are kept",
            "Versioning",
            lambda: judged("" if (self._now().get("versioning") or {}).get("enabled") else "what is deleted is gone"),
            lambda: self._patch({"versioning": {"enabled": True}}),
        )
        yield Setting("soft delete", "Versioning", self._soft_delete, self._set_soft_delete)
        yield Setting("HEAD can be replaced", "Retention", lambda: judged(gcspolicy.holds_head(self._now())))
        for what, binding in gcspolicy.bindings(place, wanted).items():
            yield self._binding(what, binding)
        if wanted.principals:
            yield Setting("policy: nobody else comes in", "Access", self._strangers)
        for what, rule in gcspolicy.rules(place, wanted).items():
            yield self._rule(what, rule)
        yield Setting("replicated", "Replication", self._replicated)
        yield Setting("access is logged", "Logging", self._logged)

    def _now(self) -> Json:
        """The bucket's resource, as it was told last."""
        if self._told is None:
            self._told = self._api.ask("GET", projection="noAcl")
        return self._told

    def _patch(self, change: Json) -> None:
        """On the condition that the bucket is as it was told: a list is replaced whole."""
        told, self._told = self._now(), None
        as_told = {"ifMetagenerationMatch": told["metageneration"]} if "metageneration" in told else {}
        self._api.ask("PATCH", body=change, **as_told)

    def _region(self) -> Told:
        region = str(self._now().get("location") or "").lower()
        if not region:
            return Told("unknown", _UNTOLD)
        allowed = {each.lower() for each in self._wanted.regions}
        return judged(
            "" if region in allowed else f"it is in {region}: make a bucket in one of {', '.join(sorted(allowed))}"
        )

    def _iam_configuration(self, is_right: Callable[[Json], bool], lack: str) -> Told:
        found = self._now().get("iamConfiguration")
        return judged("" if is_right(found) else lack) if found else Told("unknown", _UNTOLD)

    def _encryption(self) -> Told:
        key = (self._now().get("encryption") or {}).get("defaultKmsKeyName", "")
        if not self._place.kms_key:
            return Told("kept", f"by {key}" if key else "by Google's own keys: name yours as kms-key")
        return judged("" if key == self._place.kms_key else "objects are not encrypted with that key by default")

    def _encrypt(self) -> None:
        self._patch({"encryption": {"defaultKmsKeyName": self._place.kms_key}})

    def _other_encryption(self) -> Told:
        found = self._now().get("encryption") or {}
        strict = all((found.get(each) or {}).get("restrictionMode") == "FullyRestricted" for each in _ENFORCED)
        return judged("" if strict else "the bucket takes objects with other keys than Cloud KMS's")

    def _forbid_other_encryption(self) -> None:
        self._patch({"encryption": dict.fromkeys(_ENFORCED, _STRICT)})

    def _soft_delete(self) -> Told:
        found = self._now().get("softDeletePolicy")
        if found is None:
            return Told("unknown", _UNTOLD)
        least_s = gcspolicy.soft_delete_s(self._wanted) if self._wanted.noncurrent_days else 1
        kept_s = int(found.get("retentionDurationSeconds") or 0)
        return judged("" if kept_s >= least_s else f"what is deleted can be brought back for {kept_s // 86_400} days")

    def _set_soft_delete(self) -> None:
        self._patch({"softDeletePolicy": {"retentionDurationSeconds": str(gcspolicy.soft_delete_s(self._wanted))}})

    def _policy(self) -> Json:
        return self._api.ask("GET", "/iam", optionsRequestedPolicyVersion=3)

    def _binding(self, what: str, binding: Json) -> Setting:
        return Setting(
            f"policy: {what}",
            "Access",
            lambda: judged("" if gcspolicy.granted(self._policy(), binding) else "the bucket's policy does not say it"),
            lambda: self._grant(binding),
        )

    def _grant(self, binding: Json) -> None:
        self._api.ask("PUT", "/iam", gcspolicy.merged_policy(self._policy(), binding))

    def _strangers(self) -> Told:
        found = gcspolicy.strangers(self._policy(), self._wanted)
        way_out = f"gcloud storage buckets remove-iam-policy-binding gs://{self._place.bucket} takes them out"
        named = f"{', '.join(found[:3])}{' and more' if len(found) > 3 else ''}"
        return judged(f"{named} have roles on the bucket: {way_out}" if found else "")

    def _rule(self, what: str, rule: Json) -> Setting:
        def set_() -> None:
            self._patch({"lifecycle": {"rule": gcspolicy.merged_rules(self._now(), rule)}})

        lack = "the bucket's lifecycle does not say it"
        return Setting(what, "Lifecycle", lambda: judged("" if gcspolicy.says(self._now(), rule) else lack), set_)

    def _replicated(self) -> Told:
        """Told, and never missing: it was decided when the bucket was made."""
        told = self._now()
        kind, where = str(told.get("locationType") or ""), str(told.get("location") or "").lower()
        if not kind:
            return Told("unknown", _UNTOLD)
        if kind in _REPLICATED:
            return Told("kept", f"over the {kind} {where}, by {told.get('rpo') or 'DEFAULT'} replication")
        return Told("kept", f"over the zones of {where}; a dual- or multi-region outlives the loss of a region")

    def _logged(self) -> Told:
        if (self._now().get("logging") or {}).get("logBucket"):
            return Told("kept")
        audit = "whether Data Access audit logs are on, the project's IAM policy says: gcloud projects get-iam-policy PROJECT"
        return Told("unknown", f"no usage logs; {audit}")


def _is(name: str, value: str) -> Callable[[Json], bool]:
    return lambda found: found.get(name) == value


class GcsMarks:
    """The custom time by which models become cold: that of their making. It cannot be taken away, so it is put off for good."""

    def __init__(self, place: Gcs, credentials: Path | None) -> None:
        self._place, self._api = place, _Api(place, credentials)

    def mark(self, key: str, *, cold: bool) -> bool:
        """Sets it, or puts it off; whether that was a change."""
        path = f"/o/{quote(gcspolicy.prefix_of(self._place, key), safe='')}"
        try:
            told = self._api.ask("GET", path, fields="customTime,timeCreated")
            wanted = _custom_time(told, cold=cold)
            if wanted is not None:
                self._api.ask("PATCH", path, {"customTime": wanted})
        except RefusedError as error:
            raise StoreDeniedError(f"custom time of {key}: {error.told.remark}") from error
        return wanted is not None


def _custom_time(told: Json, *, cold: bool) -> str | None:
    """What it becomes; None: what it is."""
    there = told.get("customTime")
    if cold:
        return None if there else str(told["timeCreated"])
    return gcspolicy.AT_HAND if there and not str(there).startswith(gcspolicy.AT_HAND[:10]) else None
