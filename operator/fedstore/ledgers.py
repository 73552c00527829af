"""A job's ledger in its store, read: checkpoint, entries, tiles. The writer is fedaggregator.engine.ledger; ledgeraudit.py verifies all of it.

Called by the aggregator at its start and by `fedloom ledger`. Reads only, and blocks; LedgerBrokenError names what is lost or
changed, an entry where it is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import rfc8785

from fedapi.wire import signedcommit
from fedapi.wire.commit import Participant
from fedapi.wire.layout import Layout
from fedapi.wire.store import Head as HeadRecord
from fedcore.ledger import entries, merkle, note, tiles
from fedcore.ledger.entries import Entry, MalformedEntryError
from fedcore.ledger.note import Checkpoint, MalformedNoteError, Verifier, WrongSignatureError
from fedcore.ledger.tiles import CHECKPOINT, Edge, MalformedTileError, Tile
from fedstore import many
from fedstore.errors import MissingError, StoreError
from fedstore.history import Readable


class LedgerBrokenError(StoreError):
    """The ledger is not what was written. `entry`: the first one that is broken."""

    def __init__(self, message: str, entry_: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry_


@dataclass(frozen=True)
class Found:
    """A checkpoint, and the tag of its object."""

    checkpoint: Checkpoint
    tag: str


def checkpoint(store: Readable, layout: Layout, verifier: Verifier | None, *, inherits: bool = False) -> Found | None:
    """The newest; None where there is no ledger. `inherits`: one that another job has signed is taken as it is."""
    key = layout.ledger(CHECKPOINT)
    found = store.head(key)
    if found is None:
        return None
    try:
        said = note.checkpoint(found.data)
        if verifier is not None and not (inherits and said.origin != verifier.name):
            said = note.opened(found.data, verifier)
    except (MalformedNoteError, WrongSignatureError) as error:
        raise LedgerBrokenError(f"{key}: {error}") from error
    return Found(said, found.tag)


def entry(data: bytes) -> Entry:
    """Of bytes of a bundle. LedgerBrokenError."""
    try:
        return entries.parsed(data)
    except MalformedEntryError as error:
        raise LedgerBrokenError(str(error)) from error


def tells(told: Entry, commit_sha256: str | None) -> bool:
    """Whether an entry says that this commit happened."""
    return told.kind == "committed" and told.facts.get("commit_sha256") == commit_sha256


def commits_told(store: Readable, layout: Layout, size: int) -> frozenset[object]:
    """Digests of the commits that the first entries tell."""
    told = (entry(data) for some in bundles(store, layout, size) for data in some)
    return frozenset(each.facts["commit_sha256"] for each in told if each.kind == "committed")


def is_signed(head: HeadRecord, job_uid: str, verifier: Verifier) -> bool:
    """Whether HEAD carries that key's signature over its commit."""
    if head.commit_sha256 is None or head.commit_signature is None:
        return False
    statement = signedcommit.statement(job_uid, head.round, head.commit_sha256)
    return verifier.verifies(head.commit_signature, statement)


def all_tiles(size: int) -> Iterator[Tile]:
    """All files of a ledger of that size but its checkpoint."""
    yield from tiles.of_level(size, None)
    yield from tiles.hash_tiles(size)


def partial_tiles(size: int) -> Iterator[Tile]:
    """Those of them that wider ones will replace."""
    for level in (None, *range(-(-size.bit_length() // tiles.HEIGHT))):
        yield from (each for each in tiles.of_level(size, level, max(0, size - 1)) if each.is_partial)


def bundle(store: Readable, layout: Layout, tile: Tile) -> list[bytes]:
    """The entries of a bundle."""
    key = layout.ledger(tile.path)
    try:
        return tiles.entries_of(store.get(key), tile.width)
    except MalformedTileError as error:
        broken = tile.index * tiles.WIDTH + error.entries
        raise LedgerBrokenError(f"entry {broken} is broken: {key}: {error}", broken) from error
    except MissingError as error:
        broken = tile.index * tiles.WIDTH
        raise LedgerBrokenError(f"entry {broken} is broken: {key} is missing", broken) from error


def hashes(store: Readable, layout: Layout, tile: Tile) -> list[bytes]:
    """The hashes of a tile."""
    key = layout.ledger(tile.path)
    try:
        return tiles.hashes_of(store.get(key), tile.width)
    except MalformedTileError as error:
        raise LedgerBrokenError(f"{key} is broken: {error}") from error
    except MissingError as error:
        raise LedgerBrokenError(f"{key} is missing") from error


def nodes(store: Readable, layout: Layout, size: int) -> merkle.Node:
    """Nodes of its tree, each tile read once."""
    return tiles.nodes(size, lambda tile: hashes(store, layout, tile))


def edge(store: Readable, layout: Layout, size: int) -> Edge:
    """Hashes of the tiles that are not full, by level."""
    found: list[tuple[bytes, ...]] = []
    while (count := size >> tiles.HEIGHT * len(found)) > 0:
        level = len(found)
        held = count % tiles.WIDTH
        tile = Tile(level, count // tiles.WIDTH, held)
        found.append(tuple(hashes(store, layout, tile)) if held else ())
    return tuple(found)


def bundles(store: Readable, layout: Layout, size: int) -> Iterator[list[bytes]]:
    """The entries of each bundle, read beside each other where the store is far."""
    places = {layout.ledger(each.path): each for each in tiles.of_level(size, None)}

    def read(key: str) -> list[bytes]:
        return bundle(store, layout, places[key])

    for _, some in many.mapped(store, read, places):
        yield some


def updates_root(participants: tuple[Participant, ...]) -> str:
    """Root of the tree over a round's updates, each of them as the commit names it, in its order."""
    return merkle.root_of([merkle.leaf_hash(update_leaf(each)) for each in participants]).hex()


def update_leaf(participant: Participant) -> bytes:
    """An update as a leaf: whose it is, and the digests of its payloads."""
    return rfc8785.dumps({"client": participant.client, "payloads": participant.payloads})
