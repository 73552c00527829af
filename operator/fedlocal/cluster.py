"""The in-memory API server: objects with uid, resourceVersion and generation, and what writes to them mean.

Written by reconcile.py (the operator's decisions) and by the controllers beside it. It keeps nothing on
disk: children are made anew by the next run, as the operator does when they are deleted by hand.
"""

import copy
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fedapi.jsonvalue import Json
from fedlocal.errors import ApiError
from fedoperator.decide.decision import Key


def timestamp(at: datetime) -> str:
    """A time as the API writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(body: Json) -> Key:
    """Identity of an object."""
    return Key(body["kind"], body["metadata"]["name"])


def merged(live: Json, before: Json, desired: Json) -> Json:
    """Server-side apply by one manager: fields that `before` held and `desired` does not go; lists are replaced."""
    out = dict(live)
    for name in before.keys() - desired.keys():
        out.pop(name, None)
    for name, value in desired.items():
        old, current = before.get(name), live.get(name)
        if isinstance(value, dict) and isinstance(current, dict):
            out[name] = merged(current, old if isinstance(old, dict) else {}, value)
        else:
            out[name] = copy.deepcopy(value)
    return out


@dataclass
class Cluster:
    """One namespace. `changed` is called after every write that changed something."""

    namespace: str
    changed: Callable[[], None]
    now: Callable[[], datetime]
    objects: dict[Key, Json] = field(default_factory=dict)
    secrets: dict[str, datetime] = field(default_factory=dict)  # name -> when it is to be renewed
    _applied: dict[Key, Json] = field(default_factory=dict)
    _settled: dict[Key, Json] = field(default_factory=dict)  # the object that the last apply left
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def lasting_secrets(self) -> frozenset[str]:
        """Names of those that are there and not to be renewed."""
        now = self.now()
        return frozenset(name for name, due in self.secrets.items() if now < due)

    def of_kind(self, *kinds: str) -> list[Json]:
        """All objects of these kinds, oldest first."""
        return [body for key, body in self.objects.items() if key.kind in kinds]

    def apply(self, desired: Json, first: Json | None = None) -> None:
        """Creates (from `first`, where that differs) or updates. ApiError where the API server would refuse."""
        key = key_of(desired)
        live = self.objects.get(key)
        if live is None:
            self._created(desired, first or desired)
            return
        if live is self._settled.get(key) and desired == self._applied[key]:
            return  # as it was left by the same write
        new = merged(live, self._applied.get(key, {}), desired)
        self._applied[key] = copy.deepcopy(desired)
        if key.kind == "Job" and new["spec"]["template"] != live["spec"]["template"]:
            raise ApiError(f"Job {key.name}: spec.template is immutable")
        self._replaced(key, live, new)
        self._settled[key] = self.objects[key]

    def adopt(self, body: Json) -> None:
        """Puts an object here as it was stored, uid and all."""
        self.objects[key_of(body)] = body | {"metadata": {"resourceVersion": self._version(), **body["metadata"]}}
        self.changed()

    def suspend(self, job: str, value: bool) -> None:
        """Flips a Job's spec.suspend."""
        if live := self.objects.get(Key("Job", job)):
            self._replaced(Key("Job", job), live, {**live, "spec": {**live["spec"], "suspend": value}})

    def put_status(self, key: Key, status: Json) -> None:
        """Replaces an object's status."""
        if live := self.objects.get(key):
            self._replaced(key, live, {**live, "status": status})

    def put_spec(self, key: Key, spec: Json) -> None:
        """Replaces an object's spec: a user's update."""
        if live := self.objects.get(key):
            self._replaced(key, live, {**live, "spec": spec})

    def delete(self, key: Key) -> None:
        """Deletes an object and, in turn, what it owns. A pod is only marked: the kubelet removes it when it ended."""
        if key.kind == "Pod":
            self._marked(key)
            return
        gone = self.objects.pop(key, None)
        self._applied.pop(key, None)
        self._settled.pop(key, None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        for child, body in list(self.objects.items()):
            if any(owner.get("uid") == uid for owner in body["metadata"].get("ownerReferences") or ()):
                self.delete(child)
        self.changed()

    def remove(self, key: Key) -> None:
        """Takes a marked pod away."""
        if self.objects.pop(key, None) is not None:
            self.changed()

    def _marked(self, key: Key) -> None:
        live = self.objects.get(key)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            metadata = {**live["metadata"], "deletionTimestamp": timestamp(self.now())}
            self._replaced(key, live, {**live, "metadata": metadata})

    def _created(self, desired: Json, first: Json) -> None:
        metadata = {
            **desired["metadata"],
            "namespace": self.namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "resourceVersion": self._version(),
            "creationTimestamp": timestamp(self.now()),
        }
        self.objects[key_of(desired)] = copy.deepcopy({**first, "metadata": metadata})
        self._applied[key_of(desired)] = copy.deepcopy(desired)
        self.changed()

    def _replaced(self, key: Key, live: Json, new: Json) -> None:
        if new == live:
            return
        generation = live["metadata"].get("generation", 1) + (new.get("spec") != live.get("spec"))
        metadata = {**new["metadata"], "generation": generation, "resourceVersion": self._version()}
        self.objects[key] = {**new, "metadata": metadata}
        self.changed()

    def _version(self) -> str:
        return str(next(self._versions))
