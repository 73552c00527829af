"""Makes a backup: a snapshot of what HEAD reaches, its content copied where it is not there yet, then the signed manifest.

Called by __main__.py and the command line. Killed at any point it leaves content that the next one uses, and no backup. A
backup that would be empty fails; one that holds less than another is made, says so, and deletes nothing.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice

from fedapi.jsonvalue import Json, JsonView
from fedapi.wire.message import ObjectRef
from fedbackup import copying, freezing, manifest, retention, snapshot
from fedbackup.archive import Archive, Clock, Found
from fedbackup.copying import DESTINATION, SOURCE, DamagedContentError, End
from fedbackup.errors import NotBackedUpError, Reason, told
from fedbackup.manifest import Entry, Manifest, Signer
from fedbackup.snapshot import Item, Snapshot
from fedstore.objectstore import ObjectStore

log = logging.getLogger(__name__)
_TRIES = 20  # snapshots: history would have to delete something in each of them


@dataclass(frozen=True)
class Policy:
    """What stays, and how."""

    keep_last: int | None = None
    cold_after_days: int | None = None


@dataclass(frozen=True)
class Made:
    """A backup, and what it took."""

    found: Found
    trouble: NotBackedUpError | None  # it is there, and holds less than it should

    @property
    def manifest(self) -> Manifest:
        """What it says."""
        return self.found.manifest


class Maker:
    """Makes backups of one job."""

    def __init__(
        self,
        source: ObjectStore,
        archive: Archive,
        signer: Signer,
        objects: Sequence[JsonView] = (),
        policy: Policy = Policy(),
        clock: Clock = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._archive, self._signer = End(source, SOURCE), archive, signer
        self._target = End(archive.store, DESTINATION)
        self._objects, self._policy, self._clock, self._pause = objects, policy, clock, pause

    def made(self) -> Made:
        """A new backup. NotBackedUpError when there is nothing to archive, or what there must be is damaged."""
        archive, began = self._archive, self._clock()
        snapshot.head_of(self._source.store, archive.layout)  # nothing is written for a store that is empty
        with told(DESTINATION), archive.at_work("create", self._clock) as own:
            archive.wait_for_sweeps(own, self._clock, self._pause)
            before = archive.newest()
            known = {entry.path: entry for entry in before.manifest.entries} if before else {}
            held = max((found.manifest.round for found in archive.readable()), default=0)
            again = {sha256 for _, found in islice(archive.evidence(), 1) for sha256 in found.damaged}
            taken, entries, copied = self._consistent(known, again)
            body = self._manifest(taken, entries, copied, held, began)
            found = archive.write(body, self._signer, self._clock())
            trouble = _trouble(body)
            if trouble is None and self._policy.keep_last is not None:
                swept = retention.applied(archive, self._policy.keep_last, own, self._clock)
                log.info("old backups were swept", extra={"fields": {"objects": swept}})
        return Made(found, trouble)

    def _consistent(self, known: Mapping[str, Entry], again: set[str]) -> tuple[Snapshot, list[Entry], int]:
        """A snapshot whose objects were all there, or are archived already; its entries, and bytes that were copied."""
        layout, copied = self._archive.layout, 0
        for _ in range(_TRIES):
            taken = snapshot.taken(self._source.store, layout, self._keep(), known)
            taken.items += self._api()
            try:
                there = self._archive.content() - again
                entries, more, gone = self._copied(taken, known, there)
            except DamagedContentError as error:
                if not (error.gone and self._moved(taken)):
                    text = f"{error}: it is not what was committed: {snapshot.WAY_OUT}"
                    raise NotBackedUpError(Reason.SOURCE_DAMAGED, text) from error
                log.info("history deleted what was to be archived: begun anew", extra={"fields": {"key": error.key}})
                continue
            copied += more
            if self._swept(entries):
                log.warning("what was archived was swept by another backup: begun anew")
            elif not gone or not self._moved(taken):
                return taken, entries, copied
        raise NotBackedUpError(Reason.SOURCE_DAMAGED, "history deletes models faster than they can be archived")

    def _swept(self, entries: Sequence[Entry]) -> bool:
        """Whether somebody took this backup for dead, which lasts longer than GRACE_S or has another clock, and swept."""
        archive = self._archive
        missing = {entry.sha256 for entry in entries} - archive.content()
        return any(archive.store.size(archive.object_key(sha256)) is None for sha256 in missing)

    def _moved(self, taken: Snapshot) -> bool:
        """Whether something was committed since."""
        now = snapshot.read_head(self._source.store, self._archive.layout)
        return now is not None and now.commit_sha256 != taken.head.commit_sha256

    def _copied(self, taken: Snapshot, known: Mapping[str, Entry], there: set[str]) -> tuple[list[Entry], int, bool]:
        """Entries of what is archived now, bytes copied, and whether anything was gone.

        What is damaged and can be done without goes to `taken.damaged`.
        """
        now, copied, gone = self._clock(), 0, False
        entries: list[Entry] = []
        for item, size in zip(
            taken.items, copying.together(lambda each: self._put(each, there), taken.items), strict=True
        ):
            if isinstance(size, DamagedContentError):
                if size.gone and item.path.partition("/")[0] in snapshot.BESIDE:
                    continue  # a log was put away, or a newer state of a site has replaced an older one
                taken.damaged[item.path] = size.what
                gone = gone or size.gone
                continue
            copied += size
            old = known.get(item.path)
            same = old is not None and old.sha256 == item.ref.sha256
            entries.append(
                Entry(
                    path=item.path,
                    sha256=item.ref.sha256,
                    size=item.ref.size,
                    since=old.since if old is not None and same else now,
                    cold=bool(old is not None and same and old.cold and not size),
                )
            )
        return entries, copied, gone

    def _put(self, item: Item, there: set[str]) -> int | DamagedContentError:
        """Bytes that had to be copied."""
        key = self._archive.object_key(item.ref.sha256)
        if item.ref.sha256 in there:
            with told(DESTINATION):
                if self._archive.store.size(key) == item.ref.size:
                    return 0
        if item.data is not None:
            with told(DESTINATION):
                return self._archive.store.put_once(key, item.data).size
        try:
            return copying.copied(self._source, item.ref, self._target, key)
        except DamagedContentError as error:
            if item.needed:
                raise
            return error

    def _api(self) -> Iterator[Item]:
        """What the API server had: objects by kind and name."""
        for body in self._objects:
            path = f"api/{body['kind'].lower()}s/{body['metadata']['name']}.json"
            data = json.dumps(body, indent=1, sort_keys=True).encode()
            ref = ObjectRef(key=path, sha256=manifest.digest(data), size=len(data))
            yield Item(path, ref, needed=True, data=data)

    def _keep(self) -> int | None:
        """Rounds whose models the history must have; where nobody says, the last."""
        jobs = [body for body in self._objects if body["kind"] == "FederatedJob"]
        history: Json = ((jobs[0]["spec"].get("storage") or {}).get("history") or {}) if jobs else {"keep": 1}
        keep = history.get("keep")
        return keep if isinstance(keep, int) else None

    def _manifest(self, taken: Snapshot, entries: list[Entry], copied: int, held: int, began: float) -> Manifest:
        layout, now = self._archive.layout, self._clock()
        entries = freezing.frozen(self._archive, entries, self._policy.cold_after_days, now, taken.warm)
        digest = taken.head.commit_sha256
        return Manifest(
            tool=metadata.version("fedloom"),
            namespace=layout.namespace,
            job=layout.name,
            uid=layout.uid,
            sequence=self._archive.sequence(),
            created_at=now,
            round=taken.head.round,
            commit_sha256=digest or "",
            models=tuple(taken.models),
            recorded=taken.recorded,
            entries=tuple(sorted(entries, key=lambda entry: entry.path)),
            bytes=sum(entry.size for entry in entries),
            new_bytes=copied,
            seconds=max(0.0, now - began),
            left_out=taken.damaged,
            shrunken=_shrunken(taken, held),
            public_key=self._signer.public_key,
        )


def _shrunken(taken: Snapshot, held: int) -> str:
    """`held`: the last round of any backup that is kept. The newest alone would be as short the next time, and all well."""
    if taken.head.round >= held:
        return ""
    return f"round {taken.head.round} is the last that is committed, a backup that is kept holds round {held}"


def _trouble(made: Manifest) -> NotBackedUpError | None:
    """What is wrong with a backup that was made all the same."""
    if made.left_out:
        path, why = next(iter(sorted(made.left_out.items())))
        text = f"{len(made.left_out)} objects of the job's store are damaged and left out, {path}: {why}"
        return NotBackedUpError(Reason.SOURCE_DAMAGED, f"{text}: {snapshot.WAY_OUT}")
    if made.shrunken:
        return NotBackedUpError(Reason.SHRUNKEN, f"{made.shrunken}: the store went back; older backups stay")
    return None
