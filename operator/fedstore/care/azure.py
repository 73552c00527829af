"""Reads and sets what a container of Azure Blob Storage should be like, as far as the data plane has it. Called through opening.py.

Properties of the account (TLS, shared keys, roles, lifecycle) are of the management plane: they are told as not visible, with the command
that looks at them. What shows without being told is used: a key that is accepted, a version that a write got.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import RetentionPolicy

from fedapi.wire.location import Azure
from fedstore import azure as bucket
from fedstore.azure import AzureBucket
from fedstore.care import azurepolicy
from fedstore.care.settings import RefusedError, Setting, Told, initialised, judged, looked_at
from fedstore.care.wanted import Finding, Wanted

_UNTOLD = "the store does not tell"
_NO_RIGHT = frozenset({"AuthorizationPermissionMismatch", "AuthorizationFailure", "InsufficientAccountPermissions"})
_HIDDEN = "not visible with these credentials: "
_COPIES: Mapping[str, str] = {
    "LRS": "one datacenter; GRS or GZRS outlives the loss of a region",
    "ZRS": "the zones of its region; GZRS outlives the loss of a region",
    "GRS": "two regions",
    "RAGRS": "two regions",
    "GZRS": "the zones of its region, and a second one",
    "RAGZRS": "the zones of its region, and a second one",
}


class AzureCare:
    """Of one prefix of a container."""

    def __init__(self, place: Azure, credentials: Path | None, wanted: Wanted) -> None:
        self._place, self._wanted = place, wanted
        self._bucket = AzureBucket(place, credentials)
        self._at = f"az://{place.account}/{place.container}"
        self._writes = False

    def check(self, *, by_writing: bool = True) -> Iterator[Finding]:
        """What is there. By writing an empty blob it is known whether versions are kept."""
        self._writes = by_writing
        return looked_at(self._settings())

    def init(self) -> Iterator[Finding]:
        """Sets what the data plane can set; `by_hand` has the rest."""
        self._writes = True
        return initialised(self._settings())

    def by_hand(self) -> str:
        """What is left to an administrator of the account."""
        return azurepolicy.by_hand(self._place, self._wanted)

    def _settings(self) -> Iterator[Setting]:
        place, show = self._place, azurepolicy.show
        if self._wanted.regions:
            yield _hidden("in an allowed region", "Residency", show(place, "primaryLocation"))
        yield Setting("no public access", "PublicAccess", self._public, self._keep_public_out)
        yield _hidden("no public access in the account", "PublicAccess", show(place, "allowBlobPublicAccess"))
        yield _hidden("TLS alone", "Transport", show(place, "'[enableHttpsTrafficOnly, minimumTlsVersion]'"))
        yield Setting("no access by the account's keys", "Access", self._shared_key)
        if self._wanted.principals:
            yield _hidden("nobody else comes in", "Access", azurepolicy.show_roles(place))
        yield Setting("encrypted by default", "Encryption", self._scope)
        if place.encryption_scope:
            yield Setting("no other encryption", "Encryption", self._other_scopes)
        yield Setting("versions are kept", "Versioning", self._versions)
        yield Setting("soft delete", "Versioning", self._soft_delete, self._set_soft_delete)
        yield Setting("HEAD can be replaced", "Retention", self._immutable)
        yield _hidden("updates expire", "Lifecycle", azurepolicy.show_policy(place))
        yield _hidden("deleted versions go", "Lifecycle", azurepolicy.show_policy(place))
        yield Setting("replicated", "Replication", self._copies)
        yield Setting("access is logged", "Logging", self._logged)

    def _container(self) -> Any:
        with self._asked():
            return self._bucket.container.get_container_properties()

    def _service(self) -> Mapping[str, Any]:
        with self._asked(of_the_account=True):
            found: Mapping[str, Any] = self._bucket.service.get_service_properties()
        return found

    @contextmanager
    def _asked(self, *, of_the_account: bool = False) -> Iterator[None]:
        """What these credentials may not ask, or an emulator does not have, is about one setting alone.

        Of the account every refusal is: the container, which is asked first, knows whether the credentials are any.
        """
        with bucket.typed_errors(self._at):
            try:
                yield
            except HttpResponseError as error:
                if told := _refused(error, of_the_account=of_the_account):
                    raise RefusedError(told) from error
                raise

    def _public(self) -> Told:
        access = self._container().public_access
        return judged(f"everybody may read it: its public access is {access}" if access else "")

    def _keep_public_out(self) -> None:
        with self._asked():
            kept = self._bucket.container.get_container_access_policy()["signed_identifiers"]
            self._bucket.container.set_container_access_policy({each.id: each.access_policy for each in kept})

    def _shared_key(self) -> Told:
        look = azurepolicy.show(self._place, "allowSharedKeyAccess")
        if not self._bucket.by_key:
            return Told("unknown", _HIDDEN + look)
        self._container()
        return Told(
            "missing", "the account takes its keys, this one for example: give the hub an identity, and forbid them"
        )

    def _scope(self) -> Told:
        found = self._container().encryption_scope
        scope = str(found.default_encryption_scope or "") if found else ""
        if not self._place.encryption_scope:
            by = f"in the scope {scope}" if scope and not scope.startswith("$") else "by the account's key"
            return Told("kept", f"{by}: name a key of yours as encryption-scope" if not scope else by)
        if not scope:
            return Told("unknown", _UNTOLD)
        made = "it is chosen when a container is made: az storage container create --default-encryption-scope"
        return judged("" if scope == self._place.encryption_scope else f"the default scope is {scope}; {made}")

    def _other_scopes(self) -> Told:
        found = self._container().encryption_scope
        if not found or not found.default_encryption_scope:
            return Told("unknown", _UNTOLD)
        made = "it is chosen when a container is made: az storage container create --prevent-encryption-scope-override"
        return judged("" if found.prevent_encryption_scope_override else f"a write may name another scope; {made}")

    def _versions(self) -> Told:
        """A blob that was written while versions are kept has one."""
        look = azurepolicy.show_service(self._place, "isVersioningEnabled")
        if self._writes:
            name = self._name(f"updates/fedloom-check/{secrets.token_hex(8)}")
            with self._asked():
                blob = self._bucket.container.get_blob_client(name)
                version = blob.upload_blob(b"").get("version_id")
                blob.delete_blob()
            on = f"az storage account blob-service-properties update --account-name {self._place.account} --enable-versioning true"
            return judged("" if version else f"what is deleted is gone; {on}")
        with self._asked():
            first = next(iter(self._bucket.container.list_blobs(self._name(""), results_per_page=1)), None)
            found = first and self._bucket.container.get_blob_client(first.name).get_blob_properties().version_id
        return Told("kept") if found else Told("unknown", _HIDDEN + look)

    def _soft_delete(self) -> Told:
        found = self._service().get("delete_retention_policy")
        if found is None:
            return Told("unknown", _UNTOLD)
        days = int(found.days or 0) if found.enabled else 0
        least = self._wanted.noncurrent_days or 1
        return judged("" if days >= least else f"what is deleted can be brought back for {days} days")

    def _set_soft_delete(self) -> None:
        with self._asked(of_the_account=True):
            kept = RetentionPolicy(enabled=True, days=self._wanted.noncurrent_days or 30)
            self._bucket.service.set_service_properties(delete_retention_policy=kept)

    def _immutable(self) -> Told:
        found = self._container()
        if found.has_immutability_policy:
            return Told(
                "missing", "an immutability policy of the container: HEAD could not be replaced; take another container"
            )
        return judged("a legal hold: HEAD could not be replaced; clear it" if found.has_legal_hold else "")

    def _copies(self) -> Told:
        """Told, and never missing: it is the account's."""
        with self._asked(of_the_account=True):
            sku = str(self._bucket.service.get_account_information().get("sku_name") or "")
        kind = sku.rpartition("_")[2].upper()
        return Told("kept", f"{sku}: {_COPIES[kind]}") if kind in _COPIES else Told("unknown", _UNTOLD)

    def _logged(self) -> Told:
        found = self._service().get("analytics_logging")
        if found is not None and found.read and found.write:
            return Told("kept")
        look = f"az monitor diagnostic-settings list --resource ID-OF-{self._place.account}/blobServices/default"
        return Told("unknown", f"no classic logs; whether there are diagnostic settings is {_HIDDEN}{look}")

    def _name(self, below: str) -> str:
        return f"{self._place.prefix}/{below}" if self._place.prefix else below


def _hidden(what: str, topic: Any, command: str) -> Setting:
    """Of the management plane."""
    return Setting(what, topic, lambda: Told("unknown", _HIDDEN + command))


def _refused(error: HttpResponseError, *, of_the_account: bool) -> Told | None:
    """What an answer says of one setting; None: it says something about the whole store."""
    code = getattr(error, "error_code", None) or ""
    code = str(getattr(code, "value", code))
    said = f"{error.status_code} {code}".strip()
    if code in _NO_RIGHT or (of_the_account and error.status_code in {400, 401, 403}):
        return Told("unknown", f"{said}; the credentials may not ask")
    return Told("cannot", said) if error.status_code in {405, 501} else None


class AzureTiers:
    """Superseded models go to a cool tier when they are old enough, and back when they are needed again: blob by blob, by this."""

    def __init__(self, place: Azure, credentials: Path | None, wanted: Wanted) -> None:
        self._place, self._wanted = place, wanted
        self._bucket = AzureBucket(place, credentials)

    def mark(self, key: str, *, cold: bool) -> bool:
        """Sets the tier; whether that was a change. An archived blob stays where it is."""
        name = f"{self._place.prefix}/{key}" if self._place.prefix else key
        with bucket.typed_errors(f"tier of {key}"):
            blob = self._bucket.container.get_blob_client(name)
            found = blob.get_blob_properties()
            wanted = self._tier(found.blob_tier or "Hot", found.creation_time, cold=cold)
            if wanted is None:
                return False
            blob.set_standard_blob_tier(wanted)
        return True

    def _tier(self, now: str, made: datetime, *, cold: bool) -> str | None:
        """What it becomes; None: what it is."""
        if cold:
            old = datetime.now(UTC) - made >= timedelta(days=self._wanted.cold_after_days or 0)
            return self._wanted.cold_class if old and now == "Hot" else None
        return "Hot" if now in azurepolicy.AT_ONCE else None
