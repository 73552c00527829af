"""Every write that the operator makes, one function each, and what is counted about them.

Called by apply.py. The answer of each write goes into the cache, so that the next look at the object sees it. No write
here can touch an object that was not there before, or is not the one that was seen: creations fail where the name is
taken, everything else names the uid.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.connection import APPLY_PATCH, MERGE_PATCH, Connection
from fedoperator.decide.decision import Event
from fedoperator.desired.kinds import BY_KIND, EVENT
from fedoperator.errors import GoneError, RefusedError, RetryLaterError

_APPLY = {"fieldManager": names.OPERATOR_MANAGER, "force": "true"}
_MANAGER = {"fieldManager": names.OPERATOR_MANAGER}
# Words about an object that was seen and is another one by now, or none: to an apply or a merge, and to a deletion.
_ANOTHER = ("metadata.uid", "uid mismatch", "UID in precondition")
_NOT_DELETED = "the UID in the precondition"
_NO_VERSION = "1"  # older than every object: an apply that names it creates, and conflicts with whatever is there

Count = Callable[[str, str], None]  # (kind, verb)


class Writer:
    """Writes to the API server and through to the cache."""

    def __init__(self, connection: Connection, cache: Cache, count: Count, reporter: str) -> None:
        self._connection = connection
        self._cache = cache
        self._count = count
        self._reporter = reporter

    def apply(self, manifest: JsonView, live: Json) -> None:
        """Server-side apply: takes over the leaves that the manifest holds, in exactly this object."""
        body = _meant(manifest, uid=live["metadata"]["uid"])
        with self._there(live):
            self._take("apply", "PATCH", _path(body), body, content_type=APPLY_PATCH, query=_APPLY)

    def make(self, manifest: JsonView) -> None:
        """Server-side apply that only creates; RetryLaterError(conflict) when the name is taken."""
        body = _meant(manifest, resourceVersion=_NO_VERSION)
        self._take("apply", "PATCH", _path(body), body, content_type=APPLY_PATCH, query=_APPLY)

    def create(self, manifest: JsonView) -> None:
        """Plain create, for Jobs; RetryLaterError(conflict) when the name is taken."""
        path = BY_KIND[manifest["kind"]].path(manifest["metadata"]["namespace"])
        self._take("create", "POST", path, manifest, query=_MANAGER)

    def register(self, manifest: JsonView) -> None:
        """Plain create of an FLClient, as a person does it: the watch tells of it, and it is nobody's child."""
        self._count(manifest["kind"], "create")
        path = BY_KIND[manifest["kind"]].path(manifest["metadata"]["namespace"])
        self._connection.request("POST", path, manifest, query=_MANAGER)

    def read(self, manifest: JsonView) -> Json:
        """The object that has the manifest's name: one that the watch does not see. GoneError when it is gone."""
        return self._connection.request("GET", _path(manifest)) | {"kind": manifest["kind"]}

    def take(self, body: Json) -> None:
        """Has the cache know an object that the watch does not see."""
        self._cache.put(body)

    def merge(self, live: Json, patch: JsonView, *, as_seen: bool = False) -> None:
        """Merge patch of exactly this object; with `as_seen` only while nobody has changed it since."""
        keys = ("uid", "resourceVersion") if as_seen else ("uid",)
        metadata = patch.get("metadata", {}) | {key: live["metadata"][key] for key in keys}
        body = {"kind": live["kind"], **patch, "metadata": metadata}
        with self._there(live):
            self._take("patch", "PATCH", _path(live), body, content_type=MERGE_PATCH, query=_MANAGER)

    def suspend(self, live: Json, *, suspend: bool) -> None:
        """Flips spec.suspend of a Job or JobSet, of exactly this one."""
        self.merge(live, {"spec": {"suspend": suspend}})

    def status(self, live: Json, status: JsonView) -> None:
        """Server-side apply of this operator's leaves of .status, for exactly this object as it was seen.

        The API server ignores a foreign uid in an apply to /status of a custom resource; a foreign resourceVersion is a
        conflict (RetryLaterError), so a recreated job never gets its predecessor's status.
        """
        metadata = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": names.API_VERSION, "kind": live["kind"], "metadata": metadata, "status": status}
        path = _path(live, "status")
        self._take("apply", "PATCH", path, body, content_type=APPLY_PATCH, query=_APPLY)

    def delete(self, live: Json) -> None:
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
        except RetryLaterError as error:
            if _NOT_DELETED not in str(error):
                raise
            answer = {}
        if answer.get("metadata", {}).get("uid") == live["metadata"]["uid"]:
            self._cache.put(answer)  # finalizers hold it: it is being deleted
        else:
            self._cache.deleted(live)

    def event(self, about: Json, event: Event, now: str) -> None:
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

    @contextmanager
    def _there(self, live: Json) -> Iterator[None]:
        """Has the cache forget an object that turns out to be gone, or replaced; then it is looked at again.

        The watch may never say so: one that has lost its labels is in the cache by `take` alone.
        """
        try:
            yield
        except (GoneError, RefusedError, RetryLaterError) as error:
            if not (isinstance(error, GoneError) or any(words in str(error) for words in _ANOTHER)):
                raise
            self._cache.deleted(live)
            raise RetryLaterError(str(error), conflict=True) from error

    def _take(self, verb: str, method: str, path: str, body: JsonView, **options: Any) -> None:
        self._count(body["kind"], verb)
        self._cache.put(self._connection.request(method, path, body, **options))


def _meant(manifest: JsonView, **identity: str) -> Json:
    return {**manifest, "metadata": {**manifest["metadata"], **identity}}


def _path(body: JsonView, subresource: str = "") -> str:
    metadata = body["metadata"]
    return BY_KIND[body["kind"]].path(metadata["namespace"], metadata["name"], subresource)
