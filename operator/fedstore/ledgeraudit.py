"""All of a job's ledger verified: each entry, each hash, and that each commit is bound to it. Called by `fedloom ledger` and by a repair.

Reads only, and blocks; ledgers.LedgerBrokenError names the first thing that is not as it was written.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from fedapi.wire.layout import Layout
from fedapi.wire.ledger import Anchor
from fedapi.wire.store import Head as HeadRecord
from fedcore.ledger import entries, merkle, sums, tiles
from fedcore.ledger.entries import Entry, MalformedEntryError
from fedcore.ledger.note import Checkpoint, Verifier
from fedcore.ledger.sums import Sum, UnsoundSumError
from fedcore.ledger.tiles import CHECKPOINT
from fedstore import history, ledgers
from fedstore.history import Link, Readable
from fedstore.ledgers import Found, LedgerBrokenError

_TRIES = 5


@dataclass(frozen=True)
class Verified:
    """A ledger that is whole."""

    checkpoint: Checkpoint
    entries: list[Entry]
    commits: int  # that are bound to it
    first_round: int | None  # of those
    sums: list[Sum]  # of masked or encrypted updates

    @property
    def restarted(self) -> Entry | None:
        """That it was begun anew, where it was: earlier commits are bound to the one before."""
        return _restarted(self.entries)

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many entries there are of each kind."""
        return Counter(each.kind for each in self.entries)


def fault(store: Readable, layout: Layout, origin: str, bound: Anchor | None, verifier: Verifier | None) -> str:
    """What is broken about it; empty: nothing, or there is none and needs none. Without a verifier no signature is read.

    `origin`: what the checkpoint must be of; `bound`: what the last commit says of the ledger.
    """
    for _ in range(_TRIES):
        found = store.head(layout.ledger(CHECKPOINT))
        if found is None:
            return f"{layout.ledger(CHECKPOINT)} is missing" if bound else ""
        try:
            _check_fault(store, layout, origin, bound, verifier)
        except LedgerBrokenError as error:
            why = str(error)
        else:
            return ""
        now = store.head(layout.ledger(CHECKPOINT))
        if now is None or now.tag == found.tag:
            break  # else it has gone on meanwhile
    return why


def _check_fault(store: Readable, layout: Layout, origin: str, bound: Anchor | None, verifier: Verifier | None) -> None:
    found = ledgers.checkpoint(store, layout, verifier)
    said = found.checkpoint if found else Checkpoint(origin, 0, merkle.EMPTY)
    if said.origin != origin:
        raise LedgerBrokenError(f"{layout.ledger(CHECKPOINT)} is of {said.origin[:300]!r}, not of {origin!r}")
    _, node = _whole(store, layout, said)
    if bound is not None and not _goes_on(node, said.size, bound):
        text = (
            f"{layout.ledger(CHECKPOINT)}: the last commit is bound to {bound.size} entries with the root {bound.root}"
        )
        raise LedgerBrokenError(f"{text}, and this ledger, of {said.size} entries, has not those")


def verified(store: Readable, layout: Layout, verifier: Verifier, *, known: Anchor | None = None) -> Verified:
    """Reads all of it. LedgerBrokenError names the first thing that is not as it was written. `known`: of the job's status.

    A ledger that goes on meanwhile is read again: tiles that are not full are replaced.
    """
    for _ in range(_TRIES):
        head = history.read_head(store, layout)  # before the ledger, which has all that HEAD is bound to
        found = ledgers.checkpoint(store, layout, verifier)
        if found is None:
            raise LedgerBrokenError(f"{layout.ledger(CHECKPOINT)} is missing: there is no ledger")
        try:
            return _verified(store, layout, found, _Signed(head[0], verifier) if head else None, known)
        except LedgerBrokenError:
            now = store.head(layout.ledger(CHECKPOINT))
            if now is None or now.tag == found.tag:
                raise
    raise LedgerBrokenError(f"{layout.ledger(CHECKPOINT)} goes on faster than the ledger is read: verify a copy of it")


class _Signed(NamedTuple):
    """HEAD, and by whose key its commit must be signed."""

    head: HeadRecord
    verifier: Verifier


def _verified(store: Readable, layout: Layout, found: Found, signed: _Signed | None, known: Anchor | None) -> Verified:
    size = found.checkpoint.size
    told, node = _whole(store, layout, found.checkpoint)
    if known is not None and known.size and not _goes_on(node, size, known):
        text = f"the job's status has seen {known.size} entries with the root {known.root}"
        raise LedgerBrokenError(
            f"{text}, and this ledger of {size} entries does not go on from there: an older one was put back"
        )
    try:
        summed = sums.told(told)
    except UnsoundSumError as error:
        raise LedgerBrokenError(f"entry {error.entry} is broken: {error}", error.entry) from error
    bound = _check_commits(store, layout, signed, told, node, summed) if signed else []
    return Verified(found.checkpoint, told, len(bound), min(bound, default=None), summed)


def _whole(store: Readable, layout: Layout, said: Checkpoint) -> tuple[list[Entry], merkle.Node]:
    """All entries, and the nodes of their tree, once each file was compared with the others."""
    bundles = [*ledgers.bundles(store, layout, said.size)]
    data = [each for some in bundles for each in some]
    made = merkle.levels([merkle.leaf_hash(each) for each in data])

    def node(level: int, index: int) -> bytes:
        return made[level][index]

    if merkle.root(node, said.size) != said.root:
        raise _first_broken(store, layout, said, made[0])
    _check_tiles(store, layout, said.size, made)
    return _parsed(bundles), node


def _goes_on(node: merkle.Node, size: int, known: Anchor) -> bool:
    """Whether a ledger of that size has the known one in it."""
    return known.size <= size and merkle.root(node, known.size).hex() == known.root


def _restarted(told: list[Entry]) -> Entry | None:
    return next((each for each in told if each.kind == "restarted"), None)


def _first_broken(store: Readable, layout: Layout, said: Checkpoint, leaves: list[bytes]) -> LedgerBrokenError:
    """By the tiles, which have a hash of each entry."""
    try:
        kept = [each for tile in tiles.of_level(said.size, 0) for each in ledgers.hashes(store, layout, tile)]
    except LedgerBrokenError as error:
        return LedgerBrokenError(f"the entries do not have the root of the checkpoint, and {error}")
    for number, (own, one) in enumerate(zip(leaves, kept, strict=True)):
        if own != one:
            where = f"{layout.ledger(tiles.tile(said.size, None, number // tiles.WIDTH).path)}"
            sure = "" if merkle.root_of(kept) == said.root else ", or its hash, and others beside"
            return LedgerBrokenError(
                f"entry {number} is broken: its bytes in {where} are not those that were signed{sure}", number
            )
    text = "its entries and tiles are whole, and are not those that it says"
    return LedgerBrokenError(f"{layout.ledger(CHECKPOINT)}: {text}: a checkpoint of another tree was put there")


def _check_tiles(store: Readable, layout: Layout, size: int, made: list[list[bytes]]) -> None:
    for tile in tiles.hash_tiles(size):
        start = tile.index * tiles.WIDTH
        if ledgers.hashes(store, layout, tile) != made[tiles.HEIGHT * (tile.level or 0)][start : start + tile.width]:
            raise LedgerBrokenError(
                f"{layout.ledger(tile.path)} is broken: the entries are whole, and have other hashes"
            )


def _parsed(bundles: list[list[bytes]]) -> list[Entry]:
    told: list[Entry] = []
    try:
        for each in chain.from_iterable(map(entries.parsed_each, bundles)):
            told.append(each)  # noqa: PERF402 - those before one that is malformed are counted
    except MalformedEntryError as error:
        raise LedgerBrokenError(f"entry {len(told)} is broken: {error}", len(told)) from error
    return told


def _check_commits(
    store: Readable, layout: Layout, signed: _Signed, told: list[Entry], node: merkle.Node, summed: list[Sum]
) -> list[int]:
    """Rounds whose commits are bound to the ledger: each anchor is in it, and so is each commit. The last is signed, at least."""
    by_commit = {each.facts.get("commit_sha256"): each for each in told if each.kind == "committed"}
    by_attempt = {(each.round, each.attempt): each for each in summed}
    restarted = _restarted(told)
    bound = []
    for link in history.chain(store, layout, signed.head):
        if restarted is not None and link.sha256 == restarted.facts.get("commit_sha256"):
            break  # it, and all before, are bound to the ledger that was broken
        is_last = link.sha256 == signed.head.commit_sha256
        if is_last and by_commit and link.sha256 not in by_commit:
            _check_signed(link, signed)
        anchor = link.record.ledger
        if anchor is None:
            continue  # an older version committed it
        if not _goes_on(node, len(told), anchor):
            text = (
                f"{link.key}: round {link.record.round} is bound to {anchor.size} entries with the root {anchor.root}"
            )
            raise LedgerBrokenError(f"{text}, and the ledger, of {len(told)} entries, has not that one")
        _check_committed(link, by_commit.get(link.sha256), last=is_last)
        _check_summed(link, by_attempt.get((link.record.round, link.record.attempt)))
        bound.append(link.record.round)
    return bound


def _check_summed(link: Link, summed: Sum | None) -> None:
    if summed is None:
        return
    sites = frozenset(each.client for each in link.record.participants)
    if sites != summed.survivors:
        text = f"{link.key}: its updates are those of {', '.join(sorted(sites))}"
        raise LedgerBrokenError(f"{text}, and the survivors that sites were asked to open were: {summed.text()}")


def _check_signed(link: Link, signed: _Signed) -> None:
    """The last commit, which the ledger does not tell yet. Each binds the one before it, so that they are the job's, too."""
    if not ledgers.is_signed(signed.head, link.record.job_uid, signed.verifier):
        text = f"{link.key}: no entry tells that round {link.record.round} was committed, and it is not signed"
        raise LedgerBrokenError(f"{text}: somebody else has put it there")


def _check_committed(link: Link, said: Entry | None, *, last: bool) -> None:
    commit = link.record
    if said is None:
        if last:
            return  # its entry is written with the next ones
        raise LedgerBrokenError(f"no entry says that round {commit.round} was committed ({link.key})")
    if said.facts.get("updates_root") != ledgers.updates_root(commit.participants):
        raise LedgerBrokenError(f"{link.key}: its updates are not those of the entry of round {commit.round}")
