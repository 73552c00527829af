"""A job's history: HEAD, the commits that it reaches, and which of their models are there. The one reader of it.

Called by the aggregator (recovery and repair), the embedded runner, the command line and tests. Commits are bound to each
other by the digests of their stored bytes. Reads only, and blocks; HistoryDamagedError names what is lost or changed,
NewerRecordError what this version cannot read.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.store import Head as HeadRecord
from fedapi.wire.storekey import RecordKey, StoreKey
from fedstore import many
from fedstore.errors import HistoryDamagedError, MissingError
from fedstore.objectstore import Head

COMMIT, ISSUES = "commit.json", "issues.json"


class Readable(Protocol):
    """What of a store is needed here: a copy of its records and a list of its objects will do."""

    def get(self, key: str) -> bytes:
        """As the port says."""

    def keys(self, prefix: str) -> Iterator[str]:
        """As the port says."""

    def size(self, key: str) -> int | None:
        """As the port says."""

    def head(self, key: str) -> Head | None:
        """As the port says."""


@dataclass(frozen=True)
class Committed:
    """A round that happened, and whether its model is there: storage.history may keep fewer than all."""

    record: CommitRecord  # without who took part
    sites: int  # that took part
    slowest_training_s: float  # of those
    kept: bool


def read_head(store: Readable, layout: Layout) -> tuple[HeadRecord, str] | None:
    """HEAD and its tag; None in a new store. Damaged when it cannot be read, or is gone and other objects are not."""
    found = store.head(layout.head)
    if found is None:
        left = next(objects(store, layout), None)
        if left is not None:
            raise HistoryDamagedError(
                f"{layout.head} is missing, or is not a file, but there is {left[0]}: this is no new job"
            )
        return None
    try:
        return HeadRecord.stored(found.data), found.tag
    except DamagedRecordError as error:
        raise HistoryDamagedError(f"{layout.head}: {error}") from error
    except NewerRecordError as error:
        raise NewerRecordError(f"{layout.head}: {error}") from error


def objects(store: Readable, layout: Layout) -> Iterator[tuple[str, StoreKey]]:
    """Every object of the job but HEAD, with what its key says."""
    yield from beside(store, layout)
    yield from passing(store, layout)


def records_of(store: Readable, layout: Layout) -> Iterator[tuple[str, RecordKey]]:
    """The records of every attempt, those that HEAD does not reach included."""
    for key, said in beside(store, layout):
        if isinstance(said, RecordKey):
            yield key, said


def beside(store: Readable, layout: Layout) -> Iterator[tuple[str, StoreKey]]:
    """All records of the rounds: of every attempt, and of what sites measured outside of training."""
    return _below(store, layout, layout.rounds())


def passing(store: Readable, layout: Layout) -> Iterator[tuple[str, StoreKey]]:
    """Those that are not kept for ever: models, hub states, and what sites sent."""
    for prefix in (layout.models(), layout.hub_states(), layout.all_updates()):
        yield from _below(store, layout, prefix)


def _below(store: Readable, layout: Layout, prefix: str) -> Iterator[tuple[str, StoreKey]]:
    for key in store.keys(f"{prefix}/"):
        said = storekey.parsed(layout, key)
        if said is not None:
            yield key, said


def commit_keys(store: Readable, layout: Layout) -> dict[str, str]:
    """Keys of all commit records of the store by their digests, those that HEAD does not reach included."""
    read = many.mapped(store, store.get, _newest_first(store, layout))
    return {hashlib.sha256(data).hexdigest(): key for key, data in read}


class Link(NamedTuple):
    """A commit of the chain, and where its bytes are."""

    key: str
    sha256: str
    size: int
    record: CommitRecord


def links(store: Readable, layout: Layout, head: HeadRecord) -> Iterator[CommitRecord]:
    """The commits that HEAD reaches, newest first, one at a time: with many sites each is large."""
    return (link.record for link in chain(store, layout, head))


def chain(store: Readable, layout: Layout, head: HeadRecord) -> Iterator[Link]:
    """The same, with where they are."""
    digest, round_ = head.commit_sha256, head.round
    for key, data in many.mapped(store, store.get, _newest_first(store, layout)) if digest else ():
        if digest is None:
            break
        if hashlib.sha256(data).hexdigest() != digest:
            continue  # of an aggregator that was overtaken, or damaged
        try:
            commit = CommitRecord.bound(data)
        except NewerRecordError as error:
            raise NewerRecordError(f"{key}: {error}") from error
        if commit.round != round_:
            text = f"where the commit of round {round_} should be is that of round {commit.round}"
            raise HistoryDamagedError(text)
        yield Link(key, digest, len(data), storekey.here(layout, commit))
        digest, round_ = commit.previous_sha256, round_ - 1
    if digest is not None:
        raise HistoryDamagedError(_lost(store, layout, digest, round_))


def committed(store: Readable, layout: Layout) -> list[Committed]:
    """Every round that happened, oldest first; none before the initial model is committed.

    Ten thousand rounds of a thousand sites are 14 GB of commits: one of them is in memory at a time.
    """
    found = read_head(store, layout)
    return [_committed(store, commit) for commit in links(store, layout, found[0])][::-1] if found else []


def _committed(store: Readable, commit: CommitRecord) -> Committed:
    slowest = max((each.training_s for each in commit.participants), default=0.0)
    needed = [commit.model] if commit.initial is None else [commit.model, commit.initial]
    kept = all(store.size(ref.key) == ref.size for ref in needed)
    return Committed(commit.model_copy(update={"participants": ()}), len(commit.participants), slowest, kept)


def of_round(rounds: list[Committed], round_: int | None) -> CommitRecord:
    """The commit of a round whose model is there, the last for None. MissingError says which there are."""
    if not rounds:
        raise MissingError("no model is committed yet: run the job first")
    chosen = rounds[-1].record.round if round_ is None else round_
    if chosen not in range(len(rounds)):
        raise MissingError(f"round {chosen} is not committed: choose one of 0 to {len(rounds) - 1}")
    if round_ is not None and not rounds[chosen].kept:
        kept = ", ".join(str(each.record.round) for each in rounds if each.kept) or "none"
        raise MissingError(f"the model of round {chosen} is not kept (spec.storage.history.keep): kept are {kept}")
    return rounds[chosen].record


def _newest_first(store: Readable, layout: Layout) -> list[str]:
    """Keys of all commits, from the newest round to the oldest."""
    said = ((storekey.parsed(layout, key), key) for key in store.keys(f"{layout.rounds()}/"))
    found = [(each.round, key) for each, key in said if isinstance(each, RecordKey) and each.name == COMMIT]
    return [key for _, key in sorted(found, reverse=True)]


def _lost(store: Readable, layout: Layout, digest: str, round_: int) -> str:
    keys = _newest_first(store, layout)
    beside = ", ".join(key for key in keys if key.startswith(f"{layout.round(round_)}/"))
    beside = beside or f"it is missing below {layout.round(round_)}"
    return f"the commit of round {round_} with SHA-256 {digest} is lost or changed ({beside})"
