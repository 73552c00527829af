"""Copies jobs from one store to another, of whatever kinds: everything that is written once first, HEAD last. Blocks.

Called by `fedloom storage copy`. What is copied is held against its digest on the way: in its key, in its own checksum, or in the chain
of commits. Killed and run again it goes on: what is there is not copied again. Until HEAD is there nothing has happened in the target.
"""

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from fedapi.wire import storekey
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError, Record
from fedapi.wire.store import Head as HeadRecord
from fedapi.wire.storekey import ManifestKey, RecordKey, ReportKey, SiteEvaluationKey
from fedcore.ledger.tiles import CHECKPOINT
from fedstore import history
from fedstore.blocks import blocks
from fedstore.errors import (
    AlreadyExistsError,
    ContentMismatchError,
    CopyRefusedError,
    HeadMovedError,
    HistoryDamagedError,
    MissingError,
)
from fedstore.objectstore import Head, ObjectStore, is_key

CLASSES = ("control", "models", "hubstate", "updates", "ledger", "logs", "checkpoints")  # of a job's objects
_DIGEST = re.compile(r"[0-9a-f]{64}")
_THREADS = 4  # objects at a time: reading, hashing and writing overlap


@dataclass(frozen=True)
class Copied:
    """One object of the target."""

    key: str
    size: int
    how: Literal["copied", "was there"]


def jobs(store: ObjectStore) -> list[Layout]:
    """The jobs that have a HEAD in a store."""
    found = (storekey.head_of(key) for key in store.keys("control/"))
    return [job for job in found if job is not None]


def copied(source: ObjectStore, target: ObjectStore, job: Layout, *, verify: bool = False) -> Iterator[Copied]:
    """Copies a job; what is done, as it is done, HEAD last. `verify`: reads what is there already.

    CopyRefusedError when the target's HEAD is not of this job's past, or when the job goes on meanwhile;
    HistoryDamagedError names what is not what was written.
    """
    found = source.head(job.head)
    if found is None:
        raise MissingError(f"there is no {job.head} in the source")
    head, chain = _history(source, job, found)
    before = target.head(job.head)
    if before is not None:
        _must_be_past(job, before, head, chain)
    checkpoint = source.head(job.ledger(CHECKPOINT))  # before the tiles that it reaches are listed
    yield from _objects(source, target, job, found, verify=verify)
    if source.head(job.head) != found:
        raise CopyRefusedError(_GOES_ON.format(job.head))
    if checkpoint is not None:
        yield _replaced(target, job.ledger(CHECKPOINT), checkpoint)
    if before is None or before.data != found.data:
        try:
            target.replace_head(job.head, found.data, before.tag if before else None)
        except HeadMovedError as error:
            raise CopyRefusedError(f"{error}, in the target: two copies at once, or an aggregator there") from error
    yield Copied(
        job.head, len(found.data), "was there" if before is not None and before.data == found.data else "copied"
    )


def _replaced(target: ObjectStore, key: str, wanted: Head) -> Copied:
    """An object that is no HEAD, and is replaced as HEAD is: the ledger's checkpoint, once its tiles are there."""
    there = target.head(key)
    if there is not None and there.data == wanted.data:
        return Copied(key, len(wanted.data), "was there")
    try:
        target.replace_head(key, wanted.data, there.tag if there else None)
    except HeadMovedError as error:
        raise CopyRefusedError(f"{error}, in the target: two copies at once, or an aggregator there") from error
    return Copied(key, len(wanted.data), "copied")


_GOES_ON = "{} has moved while its objects were copied: suspend the job (spec.suspend), then copy again to go on"


def _history(source: ObjectStore, job: Layout, found: Head) -> tuple[HeadRecord, set[str | None]]:
    """HEAD and the digests of all commits that it reaches, each of them read and compared."""
    try:
        head = HeadRecord.stored(found.data)
        return head, {
            head.commit_sha256,
            *(commit.previous_sha256 for commit in history.links(source, job, head)),
            None,
        }
    except (DamagedRecordError, NewerRecordError) as error:
        raise HistoryDamagedError(f"{job.head} of the source: {error}") from error


def _must_be_past(job: Layout, there: Head, head: HeadRecord, chain: set[str | None]) -> None:
    """The target may hold an older state of the same job, as an earlier copy leaves it, and nothing else."""
    try:
        past = HeadRecord.stored(there.data)
    except (DamagedRecordError, NewerRecordError) as error:
        raise CopyRefusedError(f"{job.head} of the target cannot be read ({error}): choose an empty target") from error
    state = f"{job.head} of the target is at round {past.round}, epoch {past.epoch}; the source at {head.round}, {head.epoch}"
    if past.commit_sha256 not in chain:
        raise CopyRefusedError(
            f"{state}: it is not of the source's past (newer, or another history): choose an empty target"
        )
    if past.epoch > head.epoch:
        raise CopyRefusedError(
            f"{state}: an aggregator has begun in the target: copy the other way, or to an empty target"
        )


def _objects(source: ObjectStore, target: ObjectStore, job: Layout, found: Head, *, verify: bool) -> Iterator[Copied]:
    """All but HEAD and the history, several at a time. What is wrong is told for all of them, once the others are copied."""
    # What is derived is made anew of the records; that, and the ledger's checkpoint, are never written once.
    own = frozenset((job.head, *job.derived, job.ledger(CHECKPOINT)))
    keys = [key for kind in CLASSES for key in source.keys(job_prefix(job, kind)) if key not in own and is_key(key)]
    wrong: dict[str, str] = {}

    def copy(key: str) -> Copied | None:
        try:
            return _copied(source, target, job, key, verify=verify)
        except (MissingError, ContentMismatchError, DamagedRecordError) as error:
            wrong[key] = str(error)
            return None

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as threads:
        try:
            yield from filter(None, threads.map(copy, keys))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    if wrong and source.head(job.head) != found:
        raise CopyRefusedError(_GOES_ON.format(job.head))
    if wrong:
        told = "; ".join(f"{key}: {text}" for key, text in sorted(wrong.items())[:10])
        raise HistoryDamagedError(
            f"{len(wrong)} objects of the source are not what was written, HEAD was not copied: {told}"
        )


def job_prefix(job: Layout, kind: str) -> str:
    """Of a job's objects of one class."""
    return f"{kind}/{job.namespace}/{job.name}-{job.uid}/"


def _copied(source: ObjectStore, target: ObjectStore, job: Layout, key: str, *, verify: bool) -> Copied:
    said = _DIGEST.findall(key.rpartition("/")[2])  # the last is its own: before it may be that of an update
    with source.reader(key) as reader:
        size = reader.size
        if target.size(key) == size and not (verify and _differs(source, target, key)):
            return Copied(key, size, "was there")
        if _is_record(job, key):
            data = bytearray(size)
            reader.read_into(memoryview(data), 0)
            Record.stored(bytes(data))
        try:
            with target.writer(key, size=size, sha256=said[-1] if said else None) as writer:
                for block in blocks(reader):
                    writer.write(block)
                writer.finish()
        except AlreadyExistsError as error:
            raise CopyRefusedError(f"{error}: the target holds another {key}; choose an empty target") from error
    return Copied(key, size, "copied")


def _is_record(job: Layout, key: str) -> bool:
    """Whether it has a checksum of its own."""
    return isinstance(storekey.parsed(job, key), RecordKey | ManifestKey | ReportKey | SiteEvaluationKey)


def _differs(source: ObjectStore, target: ObjectStore, key: str) -> bool:
    return digest(source, key) != digest(target, key)


def digest(store: ObjectStore, key: str) -> str:
    """SHA-256 of an object, by reading it."""
    found = hashlib.sha256()
    with store.reader(key) as reader:
        for block in blocks(reader):
            found.update(block)
    return found.hexdigest()
