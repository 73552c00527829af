"""What the API server last said about every watched object: fed by the watches, written through by our own writes.

Fed by handlers/ and by apply.py, read by observe.py and metrics. Thread-safe. Objects are trimmed and must not be
changed by readers. Newer resourceVersions win. A watch reports an object that lost the label that it selects by as it
reports a deleted one, so the uid alone proves no death: what is said about a later resourceVersion brings it back.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.difference import is_ours
from fedoperator.desired.kinds import BY_KIND
from fedoperator.desired.ownership import owner_of
from fedoperator.desired.site_lease import beat_aside
from fedoperator.desired.takeback import is_others

_TOMBSTONES = 4096  # objects that went, by uid with their last resourceVersion: remembered against late answers
_OWNED = {names.JOB_KIND: names.LABEL_JOB, names.CLIENT_KIND: names.LABEL_CLIENT}
_NEVER = 2**63  # above every resourceVersion
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class _Entry:
    body: Json
    seen: float  # when the API server was last heard about it


class Cache:
    """Objects by kind, namespace and name, with an index by the job and the client that they belong to."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[str, dict[tuple[str, str], _Entry]] = defaultdict(dict)
        self._by_label: dict[tuple[str, str, str], set[tuple[str, str]]] = defaultdict(set)
        self._tombstones: OrderedDict[str, int] = OrderedDict()

    def put(self, body: Json) -> bool:
        """Takes in an object; True when it says something new.

        A new resourceVersion alone is not new, nor is the heartbeat of a site that was active: when its time is over, it
        is looked at anyway. Of five thousand sites there are 83 a second. Nor are an FLClient's counters of rounds, by which
        no job goes.
        """
        new = trimmed(body)
        kind, place = new["kind"], _place(new)
        with self._lock:
            old = self._objects[kind].get(place)
            if _version(new) < self._tombstones.get(new["metadata"].get("uid", ""), -1):
                return False
            if old and _version(new) < _version(old.body):
                self._objects[kind][place] = _Entry(old.body, self._clock())  # late, but it says that it exists
                return False
            self._objects[kind][place] = _Entry(new, self._clock())
            if old is None or set(_index_keys(old.body)) != set(_index_keys(new)):
                self._unindex(kind, place, old)
                for label in _index_keys(new):
                    self._by_label[label].add((kind, place[1]))
        return old is None or _says_more(old.body, new)

    def remove(self, body: Json) -> None:
        """Takes in that a watch sees an object no longer: exactly this one, not a younger one under the same name."""
        self._remove(body, _version(body))

    def deleted(self, body: Json) -> None:
        """Takes in the answer to a deletion: this object is no more, whatever is said about it later."""
        self._remove(body, _NEVER)

    def _remove(self, body: Json, until: int) -> None:
        kind, place, uid = body["kind"], _place(body), body["metadata"].get("uid", "")
        with self._lock:
            self._bury(uid, until)
            old = self._objects[kind].get(place)
            if old is not None and old.body["metadata"].get("uid", "") == uid:
                self._drop(kind, place)

    def sweep(self, kind: str, namespace: str | None, before: float) -> list[Json]:
        """Drops and returns what a full list that began at `before` did not mention: most likely missed deletions.

        Dropped, not buried: a list that is handed over slowly may mention a live object later, and that restores it.
        """
        with self._lock:
            missed = [
                (place, entry.body)
                for place, entry in self._objects[kind].items()
                if entry.seen < before and namespace in (None, place[0])
            ]
            for place, _ in missed:
                self._drop(kind, place)
        return [body for _, body in missed]

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """One object."""
        with self._lock:
            entry = self._objects[kind].get((namespace, name))
        return entry.body if entry else None

    def every(self, kind: str, namespace: str | None = None) -> list[Json]:
        """All objects of a kind, in one namespace or in all."""
        with self._lock:
            return [e.body for place, e in self._objects[kind].items() if namespace in (None, place[0])]

    def labelled(self, label: str, namespace: str, value: str) -> list[Json]:
        """All objects with names.LABEL_JOB or names.LABEL_CLIENT of that value, or controlled by that job or client."""
        with self._lock:
            found = self._by_label.get((label, namespace, value), set())
            return [self._objects[kind][namespace, name].body for kind, name in found]

    def _bury(self, uid: str, until: int) -> None:
        self._tombstones[uid] = max(until, self._tombstones.pop(uid, until))
        while len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _drop(self, kind: str, place: tuple[str, str]) -> None:
        self._unindex(kind, place, self._objects[kind].pop(place))

    def _unindex(self, kind: str, place: tuple[str, str], entry: _Entry | None) -> None:
        for label in _index_keys(entry.body) if entry else ():
            members = self._by_label[label]
            members.discard((kind, place[1]))
            if not members:
                del self._by_label[label]


def trimmed(body: Json) -> Json:
    """The object without what nobody here reads: most managedFields, kubectl's copy, most of a pod's spec."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    whole = bool(BY_KIND[body["kind"]].wholly_ours)
    if kept := [e for e in body["metadata"].get("managedFields") or () if is_ours(e) or (whole and is_others(e))]:
        metadata["managedFields"] = kept
    if _LAST_APPLIED in metadata.get("annotations", ()):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _LAST_APPLIED}
    slim = {**body, "metadata": metadata}
    if body["kind"] == "Pod":
        slim["spec"] = {"volumes": body.get("spec", {}).get("volumes") or []}
    return slim


def _place(body: Json) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _version(body: Json) -> int:
    """The resourceVersion as a number; the API server's are, and 0 where one is not."""
    text = body["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdigit() else 0


def _index_keys(body: Json) -> Iterator[tuple[str, str, str]]:
    """What an object is found by: a label taken off by hand does not hide a child from its job."""
    namespace, labels = body["metadata"].get("namespace", ""), body["metadata"].get("labels") or {}
    for label in (names.LABEL_JOB, names.LABEL_CLIENT):
        if value := labels.get(label):
            yield label, namespace, value
    if owner := owner_of(body):
        yield _OWNED[owner.kind], namespace, owner.name


def _says_more(old: Json, new: Json) -> bool:
    if new["kind"] == "Lease":
        old, new = beat_aside(old, new)
    return _meaning(old) != _meaning(new)


def _meaning(body: Json) -> Json:
    metadata = {
        key: value for key, value in body["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    if body["kind"] == names.CLIENT_KIND and "participation" in (body.get("status") or {}):
        counted_aside = {key: value for key, value in body["status"].items() if key != "participation"}
        return body | {"metadata": metadata, "status": counted_aside}
    return body | {"metadata": metadata}
