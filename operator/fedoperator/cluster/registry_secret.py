"""The Secret of the registry's process: made if absent, renewed in time, made anew when the installation's keys are others.

Called by lifecycle.py with the keys. As with the Secrets of jobs its content is never read back: annotations say when
the certificate ends and which keys it was made from.
"""

import base64
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.certificates import LIFETIME, ending, renewal_due
from fedoperator.cluster.connection import MERGE_PATCH, METADATA, Connection
from fedoperator.cluster.writes import Count
from fedoperator.desired.kinds import SECRET
from fedoperator.errors import GoneError, RetryLaterError
from fedoperator.key_material import Keys, registry_files

log = logging.getLogger(__name__)
_MANAGER = {"fieldManager": names.OPERATOR_MANAGER}


class RegistrySecret:
    """One Secret, in the operator's namespace. Without a name there is no registry."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        hosts: Sequence[str],
        now: Callable[[], datetime],
        count: Count,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._connection, self._namespace, self._name = connection, namespace, name
        self._hosts, self._now, self._count, self._lifetime = hosts, now, count, lifetime
        self._due: datetime | None = None  # when it is to be looked at again

    def keep(self, keys: Keys) -> None:
        """Makes it, or renews it; OperatorError when that cannot be."""
        if not self._name:
            return
        if self._due is not None and self._now() < self._due and self._told():
            return
        body = self._manifest(keys)
        try:
            self._count(SECRET.kind, "create")
            self._connection.request("POST", SECRET.path(self._namespace), body, query=_MANAGER)
            log.info("made the registry's Secret", extra={"fields": {"secret": self._name}})
        except RetryLaterError as error:
            if not error.conflict:
                raise
            if (due := self._kept(keys)) is not None:
                self._due = due
                return
            self._patch({"metadata": {"annotations": body["metadata"]["annotations"]}, "data": body["data"]})
            log.info("renewed the registry's Secret", extra={"fields": {"secret": self._name}})
        ends = datetime.fromisoformat(body["metadata"]["annotations"][names.ANNOTATION_CERTIFICATE_ENDS])
        self._due = renewal_due(ends, self._now(), self._lifetime)

    def _kept(self, keys: Keys) -> datetime | None:
        """When the one that exists is to be renewed; None: now, or it was made from other keys or for other hosts."""
        told = self._told()
        if told.get(names.ANNOTATION_MADE_FROM) != _made_from(keys, self._hosts):
            return None
        try:
            ends = datetime.fromisoformat(told.get(names.ANNOTATION_CERTIFICATE_ENDS, ""))
            due = renewal_due(ends, self._now(), self._lifetime)
        except (ValueError, OverflowError):
            return None
        return due if self._now() < due else None

    def _told(self) -> Json:
        """Annotations of the live Secret: the answer to a patch that changes nothing; empty where there is none."""
        try:
            answer = self._patch({}, query=_MANAGER | {"dryRun": "All"}, accept=METADATA)
        except GoneError:
            return {}
        found: Json = answer["metadata"].get("annotations") or {}
        return found

    def _patch(self, patch: Json, **options: Any) -> Json:
        self._count(SECRET.kind, "patch")
        options.setdefault("query", _MANAGER)
        path = SECRET.path(self._namespace, self._name)
        return self._connection.request("PATCH", path, patch, content_type=MERGE_PATCH, **options)

    def _manifest(self, keys: Keys) -> Json:
        files = registry_files(keys, self._hosts, self._now(), self._lifetime)
        annotations = {
            names.ANNOTATION_CERTIFICATE_ENDS: ending(files[names.FILE_TLS_CERT]).isoformat(),
            names.ANNOTATION_MADE_FROM: _made_from(keys, self._hosts),
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
                "annotations": annotations,
            },
            "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
        }


def _made_from(keys: Keys, hosts: Sequence[str]) -> str:
    return f"{keys.id}/{names.digest8(*hosts)}"
