"""The Secrets of jobs: created if absent, never read back; and the operator's own master Secret.

Called by apply.py. A Secret that was made, or found to exist, is remembered per job uid, so that nothing is sent at
rest. What is inside the Secrets is made by fedoperator.key_material and never logged.
"""

import base64
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.connection import Connection
from fedoperator.cluster.kinds import SECRET
from fedoperator.cluster.writes import Count
from fedoperator.decide.decision import SecretRequest
from fedoperator.errors import GoneError, RetryLaterError, SettingsInvalidError
from fedoperator.key_material import Files, Keys, aggregator_files, site_files

log = logging.getLogger(__name__)


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
        self._known: dict[str, set[str]] = defaultdict(set)

    def known(self, job_uid: str) -> frozenset[str]:
        """Names of the Secrets of a job that are known to exist."""
        with self._lock:
            return frozenset(self._known.get(job_uid, ()))

    def forget(self, job_uid: str) -> None:
        """Has every Secret of the job checked anew: one may have been deleted by hand, or the job is gone."""
        with self._lock:
            self._known.pop(job_uid, None)

    def make(self, request: SecretRequest, namespace: str, job_uid: str) -> None:
        """Creates the Secret unless it exists; then it is known. Its name has the job's uid: it is this job's own."""
        body = _manifest(request.name, namespace, self._files(request, job_uid))
        body["metadata"] |= {"labels": dict(request.labels), "ownerReferences": [dict(request.owner)]}
        self._count(SECRET.kind, "create")
        try:
            self._connection.request("POST", SECRET.path(namespace), body, query=_MANAGER)
        except RetryLaterError as error:
            if not error.conflict:
                raise
        with self._lock:
            self._known[job_uid].add(request.name)

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
            log.warning("the keys' Secret was deleted: it is made again", extra={"secret": self._keys_secret})
            self._store(keys)
            return ""
        return "" if stored == keys else f"Secret {self._namespace}/{self._keys_secret} holds other keys now"

    def _files(self, request: SecretRequest, job_uid: str) -> Files:
        if request.kind == "Site":
            return site_files(self.keys(), job_uid, request.client)
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
            log.info("made the installation's keys", extra={"secret": self._keys_secret})
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
