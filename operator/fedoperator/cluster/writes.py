"""Every write that the operator makes, one function each, and what is counted about them.

Called by apply.py. The answer of each write goes into the cache, so that the next look at the object sees it.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from fedapi import names
from fedoperator.cluster.cache import Cache, Object
from fedoperator.cluster.connection import APPLY_PATCH, MERGE_PATCH, Connection
from fedoperator.cluster.kinds import BY_KIND, EVENT
from fedoperator.decide.model import Event, Manifest
from fedoperator.errors import GoneError

_APPLY = {"fieldManager": names.OPERATOR_MANAGER, "force": "true"}
_MANAGER = {"fieldManager": names.OPERATOR_MANAGER}

Count = Callable[[str, str], None]  # (kind, verb)


class Writer:
    """Writes to the API server and through to the cache."""

    def __init__(self, connection: Connection, cache: Cache, count: Count, reporter: str) -> None:
        self._connection = connection
        self._cache = cache
        self._count = count
        self._reporter = reporter

    def apply(self, manifest: Manifest) -> None:
        """Server-side apply: creates the object or takes over the leaves that the manifest holds."""
        path = _path(manifest)
        self._take(manifest["kind"], "apply", "PATCH", path, manifest, content_type=APPLY_PATCH, query=_APPLY)

    def create(self, manifest: Manifest) -> None:
        """Plain create; RetryLaterError(conflict) when it exists."""
        path = BY_KIND[manifest["kind"]].path(manifest["metadata"]["namespace"])
        self._take(manifest["kind"], "create", "POST", path, manifest, query=_MANAGER)

    def suspend(self, live: Object, *, suspend: bool) -> None:
        """Flips spec.suspend of a Job or JobSet, of exactly this one."""
        body = {"metadata": {"uid": live["metadata"]["uid"]}, "spec": {"suspend": suspend}}
        self._take(live["kind"], "patch", "PATCH", _path(live), body, content_type=MERGE_PATCH, query=_MANAGER)

    def status(self, live: Object, status: Mapping[str, Any]) -> None:
        """Server-side apply of this operator's leaves of .status, for exactly this object as it was seen.

        The API server ignores a foreign uid in an apply to /status of a custom resource; a foreign resourceVersion is a
        conflict (RetryLaterError), so a recreated job never gets its predecessor's status.
        """
        metadata = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": names.API_VERSION, "kind": live["kind"], "metadata": metadata, "status": status}
        path = _path(live, "status")
        self._take(live["kind"], "apply", "PATCH", path, body, content_type=APPLY_PATCH, query=_APPLY)

    def delete(self, live: Object) -> None:
        """Deletes exactly this object; its own children follow in the background."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": live["metadata"]["uid"]},
            "propagationPolicy": "Background",
        }
        self._count(live["kind"], "delete")
        try:
            answer = self._connection.request("DELETE", _path(live), options)
        except GoneError:
            answer = {}
        if answer.get("metadata", {}).get("uid") == live["metadata"]["uid"]:
            self._cache.put(answer)  # finalizers hold it: it is being deleted
        else:
            self._cache.remove(live)

    def event(self, about: Object, event: Event, now: str) -> None:
        """An event on the object, which `kubectl describe` shows."""
        name = f"{about['metadata']['name'][:220]}.{uuid4().hex[:16]}"
        namespace = about["metadata"]["namespace"]
        regarding = {key: about["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": now,
            "type": event.type,
            "reason": event.reason,
            "action": "Reconcile",
            "note": event.message[:1024],
            "regarding": regarding | {"apiVersion": about["apiVersion"], "kind": about["kind"]},
            "reportingController": names.ANNOTATION_CONTROLLER,
            "reportingInstance": self._reporter,
        }
        self._count(EVENT.kind, "create")
        self._connection.request("POST", EVENT.path(namespace), body, query=_MANAGER)

    def _take(self, kind: str, verb: str, method: str, path: str, body: Manifest, **options: Any) -> None:
        self._count(kind, verb)
        self._cache.put(self._connection.request(method, path, body, **options))


def _path(body: Manifest, subresource: str = "") -> str:
    metadata = body["metadata"]
    return BY_KIND[body["kind"]].path(metadata["namespace"], metadata["name"], subresource)
