"""The Secrets of jobs: created if absent, never read back, renewed in time; and the operator's own master Secret.

Called by apply.py. A Secret that was made, or found to exist, is remembered per job uid, so that nothing is sent at
rest. What is inside the Secrets is made by fedoperator.key_material and never logged.
"""

import base64
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.connection import MERGE_PATCH, Connection
from fedoperator.cluster.writes import Count
from fedoperator.desired.kinds import SECRET
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.errors import GoneError, RefusedError, RetryLaterError, SettingsInvalidError
from fedoperator.key_material import RENEWED_AFTER, Files, Keys, aggregator_files, init_files, site_files

log = logging.getLogger(__name__)

REFUSED_AGAIN = timedelta(hours=1)  # the rights of an older chart do not let it renew


class SecretStore:
    """Makes Secrets. Thread-safe."""

    def __init__(
        self, connection: Connection, namespace: str, keys_secret: str, now: Callable[[], datetime], count: Count
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._keys_secret = keys_secret
        self._now = now
        self._count = count
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._known: dict[str, dict[str, datetime | None]] = defaultdict(
            dict
        )  # uid -> name -> when it is to be renewed

    def known(self, job_uid: str) -> frozenset[str]:
        """Names of the Secrets of a job that are known to exist, and are not to be renewed."""
        now = self._now()
        with self._lock:
            return frozenset(name for name, due in self._known.get(job_uid, {}).items() if due is None or now < due)

    def forget(self, job_uid: str) -> None:
        """Has every Secret of the job checked anew: one may have been deleted by hand, or the job is gone."""
        with self._lock:
            self._known.pop(job_uid, None)

    def make(self, request: SecretRequest, namespace: str, job_uid: str, job_made: datetime) -> None:
        """Creates the Secret unless it exists; then it is known. Its name has the job's uid: it is this job's own.

        One that exists is no older than its job, so from the job's age it follows whether its certificate is due.
        """
        files, now = self._files(request, job_uid), self._now()
        body = _manifest(request.name, namespace, files)
        due = now + RENEWED_AFTER if request.kind == "Aggregator" else None
        body["metadata"] |= {"labels": dict(request.labels), "ownerReferences": [dict(request.owner)]}
        self._count(SECRET.kind, "create")
        try:
            self._connection.request("POST", SECRET.path(namespace), body, query=_MANAGER)
        except RetryLaterError as error:
            if not error.conflict:
                raise
            if due is not None:
                due = self._renewed(request.name, namespace, job_uid, files, job_made)
        with self._lock:
            self._known[job_uid][request.name] = due

    def _renewed(self, name: str, namespace: str, job_uid: str, files: Files, job_made: datetime) -> datetime:
        """When the certificate of a Secret that exists is to be renewed; it is renewed now, if that has passed."""
        with self._lock:
            due = self._known[job_uid].get(name) or job_made + RENEWED_AFTER
        if self._now() < due:
            return due
        data = {file: base64.b64encode(files[file]).decode() for file in (names.FILE_TLS_CERT, names.FILE_TLS_KEY)}
        self._count(SECRET.kind, "patch")
        try:
            self._connection.request(
                "PATCH", SECRET.path(namespace, name), {"data": data}, content_type=MERGE_PATCH, query=_MANAGER
            )
        except RefusedError as error:
            log.warning("the certificate of Secret %s/%s was not renewed: %s", namespace, name, error)
            return self._now() + REFUSED_AGAIN
        log.info("renewed a certificate", extra={"fields": {"secret": f"{namespace}/{name}"}})
        return self._now() + RENEWED_AFTER

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

    def _files(self, request: SecretRequest, job_uid: str) -> Files:
        match request.kind:
            case "Site":
                return site_files(self.keys(), job_uid, request.client)
            case "Init":
                return init_files(self.keys(), job_uid)
            case "Aggregator":
                return aggregator_files(self.keys(), job_uid, request.hosts, self._now())

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


def _manifest(name: str, namespace: str, files: Files) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
    }
