"""The Secrets of jobs: created if absent, never read back, renewed in time; and the operator's own master Secret.

Called by apply.py. A Secret that was made, or found to exist, is remembered per job uid, so that nothing is sent at
rest. When a certificate ends is written on its Secret: what is remembered may be lost. What is inside the Secrets is
made by fedoperator.key_material and never logged.
"""

import base64
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.certificates import LIFETIME, SHORTEST, ending, renewal_due, renewed_after
from fedoperator.cluster.connection import MERGE_PATCH, METADATA, Connection
from fedoperator.cluster.issued import IssuedCertificates
from fedoperator.cluster.writes import Count
from fedoperator.desired.kinds import SECRET
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.errors import GoneError, RefusedError, RetryLaterError, SettingsInvalidError
from fedoperator.key_material import Files, Keys, aggregator_files, init_files, site_files

log = logging.getLogger(__name__)

REFUSED_AGAIN = timedelta(hours=1)  # the rights of an older chart do not let it renew


class SecretStore:
    """Makes Secrets. Thread-safe."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        keys_secret: str,
        now: Callable[[], datetime],
        count: Count,
        generations: Mapping[str, int] | None = None,
        lifetime: timedelta = LIFETIME,
        issued: IssuedCertificates | None = None,
    ) -> None:
        """`generations`: of sites' tokens for the registry, by client id; None where there is no registry. `lifetime`: of certificates.

        `issued`: who makes the certificates in the place of the installation's own CA.
        """
        self._connection = connection
        self._namespace = namespace
        self._keys_secret = keys_secret
        self._now = now
        self._count = count
        self._generations = generations
        self._lifetime = lifetime
        self._issued = issued
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._known: dict[str, dict[str, datetime]] = defaultdict(dict)  # uid -> name -> when it is to be renewed

    def known(self, job_uid: str) -> frozenset[str]:
        """Names of the Secrets of a job that are known to exist, and are not to be renewed."""
        now = self._now()
        with self._lock:
            return frozenset(name for name, due in self._known.get(job_uid, {}).items() if now < due)

    def forget(self, job_uid: str) -> None:
        """Has every Secret of the job checked anew: one may have been deleted by hand, or the job is gone."""
        with self._lock:
            self._known.pop(job_uid, None)

    def make(self, request: SecretRequest, namespace: str, job_uid: str, job_made: datetime) -> None:
        """Creates the Secret unless it exists; then it is known. Its name has the job's uid: it is this job's own.

        One that exists is no older than its job, so that nothing is asked about the certificate of a young one, however short
        certificates lived when it was made.
        """
        if self._issued is not None:
            self._make_issued(self._issued, request, namespace, job_uid)
            return
        files = self._files(request, namespace, job_uid)
        body, due = _manifest(request.name, namespace, files), self._due_of(files)
        body["metadata"] |= {"labels": dict(request.labels), "ownerReferences": [dict(request.owner)]}
        body["metadata"] |= {"annotations": _told(files)}
        self._count(SECRET.kind, "create")
        try:
            self._connection.request("POST", SECRET.path(namespace), body, query=_MANAGER)
        except RetryLaterError as error:
            if not error.conflict:
                raise
            due = self._kept(request.name, namespace, files, job_made + renewed_after(SHORTEST))
        with self._lock:
            self._known[job_uid][request.name] = due

    def _make_issued(self, issued: IssuedCertificates, request: SecretRequest, namespace: str, job_uid: str) -> None:
        """The Secret without a certificate, and the request that has one put into it; known once that is so."""
        files = self._files(request, namespace, job_uid)
        body = _manifest(request.name, namespace, {name: files[name] for name in files if name not in _RENEWED})
        body["metadata"] |= {"labels": dict(request.labels), "ownerReferences": [dict(request.owner)]}
        self._count(SECRET.kind, "create")
        try:
            self._connection.request("POST", SECRET.path(namespace), body, query=_MANAGER)
        except RetryLaterError as error:
            if not error.conflict:
                raise
        issued.require(request, namespace, job_uid)
        with self._lock:
            self._known[job_uid][request.name] = self._now() + renewed_after(self._lifetime)  # it is looked at again

    def _kept(self, name: str, namespace: str, files: Files, earliest: datetime) -> datetime:
        """When the certificate of a Secret that exists is to be renewed; it is renewed now, if that has passed."""
        try:
            due = earliest if self._now() < earliest else self._due(name, namespace) or earliest
            return due if self._now() < due else self._renewed(name, namespace, files)
        except RefusedError as error:
            log.warning("the certificate of Secret %s/%s was not renewed: %s", namespace, name, error)
            return self._now() + REFUSED_AGAIN
        except GoneError as error:  # deleted since it was in the way of ours
            raise RetryLaterError(str(error), conflict=True) from error

    def _due(self, name: str, namespace: str) -> datetime | None:
        """When the live Secret's certificate is to be renewed; None: it does not say.

        Secrets cannot be read, but the answer to a patch that changes nothing tells of them; asked for are metadata alone.
        """
        query = _MANAGER | {"dryRun": "All"}
        told = self._patch(name, namespace, {}, query=query, accept=METADATA)["metadata"].get("annotations") or {}
        try:
            ends = datetime.fromisoformat(told[names.ANNOTATION_CERTIFICATE_ENDS])
            return renewal_due(ends, self._now(), self._lifetime) if ends.tzinfo else None
        except (KeyError, ValueError, OverflowError):  # made by an older version, or written by somebody else
            return None

    def _renewed(self, name: str, namespace: str, files: Files) -> datetime:
        data = {file: base64.b64encode(files[file]).decode() for file in _RENEWED}
        self._patch(name, namespace, {"metadata": {"annotations": _told(files)}, "data": data}, query=_MANAGER)
        log.info("renewed a certificate", extra={"fields": {"secret": f"{namespace}/{name}"}})
        return self._due_of(files)

    def _due_of(self, files: Files) -> datetime:
        return renewal_due(ending(files[names.FILE_TLS_CERT]), self._now(), self._lifetime)

    def _patch(self, name: str, namespace: str, patch: Json, **options: Any) -> Json:
        self._count(SECRET.kind, "patch")
        return self._connection.request(
            "PATCH", SECRET.path(namespace, name), patch, content_type=MERGE_PATCH, **options
        )

    def keys(self) -> Keys:
        """The installation's keys, read or made at the first call."""
        with self._lock:
            if self._keys is None:
                self._keys = self._read_keys() or self._make_keys()
            return self._keys

    def keep(self) -> str:
        """Puts the keys back if their Secret was deleted while they are in use; says so when it holds others now."""
        keys = self.keys()
        stored = self._read_keys()
        if stored is None:
            log.warning(
                "the keys' Secret was deleted: it is made again", extra={"fields": {"secret": self._keys_secret}}
            )
            self._store(keys)
            return ""
        return "" if stored == keys else f"Secret {self._namespace}/{self._keys_secret} holds other keys now"

    def _files(self, request: SecretRequest, namespace: str, job_uid: str) -> Files:
        match request.kind:
            case "Site" if self._generations is not None:
                client_id = f"{namespace}/{request.client}"
                generation = self._generations.get(client_id, 0)
                return site_files(
                    self.keys(), job_uid, request.client, self._now(), client_id, generation, self._lifetime
                )
            case "Site":
                return site_files(self.keys(), job_uid, request.client, self._now(), lifetime=self._lifetime)
            case "Init":
                return init_files(self.keys(), job_uid, self._now(), self._lifetime)
            case "Aggregator":
                return aggregator_files(self.keys(), job_uid, request.hosts, self._now(), self._lifetime)

    def _read_keys(self) -> Keys | None:
        try:
            body = self._connection.request("GET", SECRET.path(self._namespace, self._keys_secret))
        except GoneError:
            return None
        data = {name: base64.b64decode(value) for name, value in (body.get("data") or {}).items()}
        try:
            return Keys.from_files(data)
        except ValueError as error:
            raise SettingsInvalidError(f"Secret {self._namespace}/{self._keys_secret}: {error}") from error

    def _make_keys(self) -> Keys:
        self._store(Keys.generated(self._now()))
        keys = self._read_keys()  # another replica may have been faster: what is stored counts
        if keys is None:
            raise RetryLaterError(f"Secret {self._keys_secret} disappeared right after it was made")
        return keys

    def _store(self, keys: Keys) -> None:
        body = _manifest(self._keys_secret, self._namespace, keys.files())
        body["metadata"]["labels"] = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
        try:
            self._connection.request("POST", SECRET.path(self._namespace), body, query=_MANAGER)
            log.info("made the installation's keys", extra={"fields": {"secret": self._keys_secret}})
        except RetryLaterError as error:
            if not error.conflict:
                raise


_MANAGER = {"fieldManager": names.OPERATOR_MANAGER}
_RENEWED = (names.FILE_TLS_CERT, names.FILE_TLS_KEY, names.FILE_CA)


def _told(files: Files) -> Json:
    """Annotations of a Secret with a certificate."""
    return {names.ANNOTATION_CERTIFICATE_ENDS: ending(files[names.FILE_TLS_CERT]).isoformat()}


def _manifest(name: str, namespace: str, files: Files) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
    }
