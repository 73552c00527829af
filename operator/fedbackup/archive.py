"""A job's backups in their destination: where what lies, which are there, and who is at work. Blocking.

    backups/manifests/<namespace>/<job>-<uid>/<sequence>-<time>-<id>.json   a backup; written last: without it there is none
    backups/objects/<namespace>/<job>-<uid>/<sha256>                         content, shared by all backups of the job
    backups/evidence/<namespace>/<job>-<uid>/<backup>.<time>.json             what a verification of it found
    backups/underway/<namespace>/<job>-<uid>/<create|sweep>-<id>.json         who is making one, or sweeping, and since when

A sweep deletes content that no backup needs. It says so first and looks for makers then; a maker says so first and looks
for sweeps then: one of the two sees the other, and waits or lets it be. A sweep ends within SWEEP_S, so nobody waits longer
for one that was killed; a maker that was killed holds sweeps up until GRACE_S is over.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedbackup import manifest as manifests
from fedbackup.errors import BadRequestError, NotRestorableError, Reason
from fedbackup.manifest import Entry, Evidence, Manifest, Signer
from fedstore.errors import MissingError, StoreError
from fedstore.objectstore import ObjectStore

GRACE_S = 24 * 3600.0  # longer than anybody copies
SWEEP_S = 20.0  # the rest is left to the next
_LOOK_S = 1.0
_NAME = re.compile(r"([0-9]{6,9})-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_JOB = re.compile(r"([^/]+)/([^/]+)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
Clock = Callable[[], float]
Work = Literal["create", "sweep"]


class Found(NamedTuple):
    """A backup that can be read."""

    name: str
    key: str
    sha256: str
    manifest: Manifest


class Archive:
    """The backups of one job."""

    def __init__(self, store: ObjectStore, layout: Layout, pinned: str = "") -> None:
        self.store, self.layout, self._pinned = store, layout, pinned
        self._job = f"{layout.namespace}/{layout.name}-{layout.uid}"

    def manifest_key(self, name: str) -> str:
        """Key of a backup's manifest."""
        return f"backups/manifests/{self._job}/{name}.json"

    def object_key(self, sha256: str) -> str:
        """Key of content."""
        return f"backups/objects/{self._job}/{sha256}"

    def ref(self, entry: Entry) -> ObjectRef:
        """Where the content of an entry is."""
        return ObjectRef(key=self.object_key(entry.sha256), sha256=entry.sha256, size=entry.size)

    def names(self) -> list[str]:
        """All backups, oldest first."""
        prefix = self.manifest_key("").removesuffix(".json")
        found = (key.removeprefix(prefix).removesuffix(".json") for key in self.store.keys(prefix))
        return sorted((name for name in found if _NAME.fullmatch(name)), key=_order)

    def read(self, name: str) -> Found:
        """A backup; NotRestorableError when its manifest is damaged, or not signed as it should be."""
        key = self.manifest_key(name)
        data = self.store.get(key)
        return Found(name, key, manifests.digest(data), manifests.opened(Manifest, key, data, self._pinned))

    def readable(self) -> Iterator[Found]:
        """The backups whose manifests can be read, newest first."""
        for name in reversed(self.names()):
            try:
                yield self.read(name)
            except NotRestorableError:
                continue

    def newest(self) -> Found | None:
        """The last of them."""
        return next(self.readable(), None)

    def chosen(self, name: str = "") -> Found:
        """A backup by name, else the last, whole or not."""
        return self.read(self.named(name))

    def named(self, name: str = "") -> str:
        """A name that there is, else the last. BadRequestError says which there are."""
        names = self.names()
        if names and not name:
            return names[-1]
        if name in names:
            return name
        there = ", ".join(names[-5:]) or "none"
        what = f"backup {name!r} of" if name else "backup of"
        text = f"there is no {what} {self.layout.namespace}/{self.layout.name} ({self.layout.uid}): there are {there}"
        raise BadRequestError(Reason.NO_BACKUP, text)

    def content(self) -> set[str]:
        """Digests of the content that is there."""
        prefix = self.object_key("")
        return {key.removeprefix(prefix) for key in self.store.keys(prefix)}

    def write(self, made: Manifest, signer: Signer, now: float) -> Found:
        """A new backup: from here on it is one."""
        name = f"{made.sequence:06d}-{_stamp(now)}-{secrets.token_hex(4)}"
        data = signer.signed(made)
        self.store.put_once(self.manifest_key(name), data)
        return Found(name, self.manifest_key(name), manifests.digest(data), made)

    def sequence(self) -> int:
        """The number of the next backup."""
        names = self.names()
        return _order(names[-1])[0] + 1 if names else 1

    def evidence(self) -> Iterator[tuple[str, Evidence]]:
        """What verifications found, newest first; what cannot be read is left out."""
        keys = sorted(self.store.keys(f"backups/evidence/{self._job}/"), key=_verified_at)
        for key in reversed(keys):
            try:
                yield key, manifests.opened(Evidence, key, self.store.get(key), self._pinned)
            except NotRestorableError:
                continue

    def write_evidence(self, name: str, found: Evidence, signer: Signer) -> str:
        """Keeps it; its key."""
        key = f"backups/evidence/{self._job}/{name}.{_stamp(found.at)}-{secrets.token_hex(4)}.json"
        self.store.put_once(key, signer.signed(found))
        return key

    def forget(self, name: str) -> None:
        """Takes a backup away, with what was found of it. Its content stays until it is swept."""
        self.store.delete(self.manifest_key(name))
        for key in list(self.store.keys(f"backups/evidence/{self._job}/{name}.")):
            self.store.delete(key)

    @contextmanager
    def at_work(self, work: Work, clock: Clock) -> Iterator[str]:
        """Says so, from now to the end; its key."""
        key = f"backups/underway/{self._job}/{work}-{secrets.token_hex(8)}.json"
        self.store.put_once(key, json.dumps({"since": clock()}).encode())
        try:
            yield key
        except BaseException:
            with suppress(StoreError):  # what ended the work is told
                self.store.delete(key)
            raise
        self.store.delete(key)

    def others(self, work: Work, own: str, clock: Clock) -> list[str]:
        """Keys of others who do so; those that must be long dead left out."""
        prefix = f"backups/underway/{self._job}/{work}-"
        return [key for key in self.store.keys(prefix) if key != own and (work == "sweep" or self._lives(key, clock()))]

    def wait_for_sweeps(self, own: str, clock: Clock, pause: Callable[[float], None]) -> None:
        """Until nobody deletes any more: what is here from then on stays. By no clock but one's own waiting."""
        waited = 0.0
        while sweeps := self.others("sweep", own, clock):
            if waited > 2 * SWEEP_S:
                for key in sweeps:  # they were killed
                    self.store.delete(key)
            pause(_LOOK_S)
            waited += _LOOK_S

    def _lives(self, key: str, now: float) -> bool:
        """Whether it may still be at work: a clock that was set back or forth must not keep a dead one for ever."""
        try:
            since = float(json.loads(self.store.get(key))["since"])
        except (ValueError, KeyError, TypeError):
            since = now
        except MissingError:
            return False
        return abs(now - since) <= GRACE_S


def jobs(store: ObjectStore) -> list[Layout]:
    """The jobs that have backups there."""
    prefix = "backups/manifests/"
    found = {key.removeprefix(prefix).rpartition("/")[0] for key in store.keys(prefix)}
    return [layout for each in sorted(found) if (layout := identity(each)) is not None]


def identity(said: str) -> Layout | None:
    """The job that NAMESPACE/JOB-UID says."""
    found = _JOB.fullmatch(said)
    return Layout(found[1], found[2], found[3]) if found else None


def located(store: ObjectStore, said: str) -> tuple[Layout, str]:
    """The job, and the backup if one is named, that a text means: NAMESPACE/JOB, NAMESPACE/JOB-UID, or a manifest's key."""
    text = said.removeprefix("backups/manifests/").removesuffix(".json").strip("/")
    namespace, _, rest = text.partition("/")
    job, _, name = rest.partition("/")
    there = [layout for layout in jobs(store) if layout.namespace == namespace]
    found = [layout for layout in there if job in (layout.name, f"{layout.name}-{layout.uid}")]
    if len(found) == 1:
        return found[0], name
    known = ", ".join(f"{each.namespace}/{each.name}-{each.uid}" for each in found or jobs(store)) or "none"
    what = f"{len(found)} jobs of that name have backups" if found else "no such job has backups"
    raise BadRequestError(Reason.NO_BACKUP, f"{said!r}: {what} in this store: name one of {known}")


def _order(name: str) -> tuple[int, str]:
    return int(name.partition("-")[0]), name


def _verified_at(key: str) -> tuple[str, str]:
    """Of evidence: by when it was found."""
    return key.rpartition(".json")[0].rpartition(".")[2], key


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
