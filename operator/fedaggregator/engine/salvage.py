"""Mends a store whose HEAD is lost, or leads to what is damaged: HEAD is set to the newest round that is whole.

Called by fedaggregator.repair (on a volume) and fedlocal.records. A round is whole when its commit is, all commits before
it are, and its model, and what its strategy remembers, have the SHA-256 that was committed; and the ledger, where it can be
read, tells it. A ledger that is broken is put aside, and the next aggregator begins another. Nothing else is written and nothing
is lost: what HEAD no longer reaches is made again by the next aggregator. Blocking.
"""

import contextlib
import hashlib
from collections.abc import Iterator

from fedaggregator.engine import ledgersalvage, records, verified
from fedaggregator.errors import DamagedError, StoreDamagedError
from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError
from fedapi.wire.store import Head, RestoreRecord
from fedapi.wire.storekey import ModelKey, RecordKey, StoreKey
from fedstore import history, ledgers
from fedstore.errors import MissingError
from fedstore.ledgers import LedgerBrokenError
from fedstore.objectstore import ObjectStore

COPY = "put the store back from a copy; a model that you need is a file of it, and its name ends in its SHA-256"


def repaired(store: ObjectStore, layout: Layout, public_key: str = "") -> Iterator[str]:
    """Says, line by line, what is damaged and what was done. StoreDamagedError when nothing whole is left to go back to.

    `public_key`: of the ledger, as the job's status says it, where it does.
    """
    trouble = _trouble(store, layout)
    if trouble:
        yield trouble
        yield from _head_set(store, layout)
    ledger_trouble = ledgersalvage.trouble(store, layout, public_key)
    if ledger_trouble:
        yield f"the ledger is broken: {ledger_trouble}"
        origin = ledgersalvage.put_aside(store, layout, ledger_trouble)
        yield f"what is left of it was put aside: the job goes on with a ledger of its own, {origin}"
    if not trouble and not ledger_trouble:
        yield "the store is whole: nothing was changed"


def _head_set(store: ObjectStore, layout: Layout) -> Iterator[str]:
    found = list(history.objects(store, layout))
    before = store.head(layout.head)
    head = _head(store, layout, found, before.data if before else b"")
    store.replace_head(layout.head, head.sealed().canonical(), before.tag if before else None)
    if head.commit_key is None:
        yield "nothing was committed yet: HEAD was made anew, the job begins with its initial model"
    else:
        yield f"HEAD was set to round {head.round} ({head.commit_key}): the job goes on from there"


def _trouble(store: ObjectStore, layout: Layout) -> str:
    """What keeps an aggregator from going on; empty when nothing does."""
    try:
        found = records.read_head(store, layout)
        if found is None:
            return ""
        records.check_newest(store, layout, *found)
        _check_told(store, layout, found[0])
        log = records.load_log(store, layout, found[0])
        if log.commits:
            _check(store, log.commits[-1])
    except (StoreDamagedError, DamagedError) as error:
        return str(error).partition(": put it back")[0]
    return ""


def _head(store: ObjectStore, layout: Layout, found: list[tuple[str, StoreKey]], before: bytes) -> Head:
    """HEAD of the newest round that is whole, with an epoch that nobody has had."""
    then = _then(store, layout, before)
    epoch = 1 + max([then.epoch, *(said.epoch for _, said in found if isinstance(said, RecordKey))])
    commits = _commits(store, layout, then.uids(layout.uid))
    told = _told(store, layout)
    for key, commit in sorted(commits.values(), key=lambda entry: (entry[1].epoch, entry[1].round), reverse=True):
        for where, whole in _chain(commits, key, commit):
            digest = hashlib.sha256(store.get(where)).hexdigest()
            if (told is None or digest in told) and _is_whole(store, whole):
                made = {"round": whole.round, "commit_key": where, "commit_sha256": digest}
                return Head(epoch=epoch, lineage=then.lineage, **made)
    later = [key for key, said in found if isinstance(said, ModelKey) and said.round > 0]
    if commits or later or any(isinstance(said, RecordKey) and said.name == history.COMMIT for _, said in found):
        raise StoreDamagedError("no committed round is left with its model and all commits before it", COPY)
    return Head(epoch=epoch, round=-1)


def _told(store: ObjectStore, layout: Layout) -> frozenset[object] | None:
    """Digests of the commits that the ledger tells; None: it tells none, or cannot be read. HEAD as it is set here is not signed.

    Whose the ledger is, the next aggregator sees: it has the key.
    """
    try:
        found = ledgers.checkpoint(store, layout, None)
        told = ledgers.commits_told(store, layout, found.checkpoint.size) if found else frozenset()
    except LedgerBrokenError:
        return None
    return told or None


def _check_told(store: ObjectStore, layout: Layout, head: Head) -> None:
    """StoreDamagedError where HEAD's commit is neither told nor signed by anybody, which no aggregator goes on from."""
    told = _told(store, layout) if head.commit_sha256 and head.commit_signature is None and not head.lineage else None
    if told is not None and head.commit_sha256 not in told:
        raise StoreDamagedError(
            f"{head.commit_key}: the ledger does not tell of this commit, and it is not signed", COPY
        )


def _then(store: ObjectStore, layout: Layout, before: bytes) -> Head:
    """HEAD as it was; where it cannot be read, one of no commit that knows what a restore has left."""
    with contextlib.suppress(DamagedRecordError), records.readable("HEAD"):
        return Head.stored(before)
    with contextlib.suppress(DamagedRecordError, MissingError), records.readable(layout.restored):
        return Head(epoch=1, round=-1, lineage=RestoreRecord.stored(store.get(layout.restored)).lineage)
    return Head(epoch=1, round=-1)


def _commits(store: ObjectStore, layout: Layout, uids: frozenset[str]) -> dict[str, tuple[str, CommitRecord]]:
    """Commits that can be read, by the digest of their bytes, with their keys; without who took part, which is most of them."""
    commits = {}
    for digest, key in history.commit_keys(store, layout).items():
        try:
            with records.readable(key):
                commit = CommitRecord.stored(store.get(key))
        except DamagedRecordError:
            continue
        said = storekey.parsed(layout, key)
        told = (commit.round, commit.attempt)
        if isinstance(said, RecordKey) and commit.job_uid in uids and told == (said.round, said.attempt):
            commits[digest] = (key, storekey.here(layout, commit.model_copy(update={"participants": ()})))
    return commits


def _chain(
    commits: dict[str, tuple[str, CommitRecord]], key: str, commit: CommitRecord
) -> list[tuple[str, CommitRecord]]:
    """A commit and those before it, newest first; empty when one of them is missing."""
    links = [(key, commit)]
    while links[-1][1].previous_sha256 is not None:
        previous = commits.get(links[-1][1].previous_sha256)
        if previous is None:
            return []
        links.append(previous)
    return links if links[-1][1].round == 0 else []


def _is_whole(store: ObjectStore, commit: CommitRecord) -> bool:
    try:
        _check(store, commit)
    except DamagedError:
        return False
    return True


def _check(store: ObjectStore, commit: CommitRecord) -> None:
    """Damaged unless what the next round begins with is whole."""
    for ref in commit.objects:
        verified.check(store, ref)
