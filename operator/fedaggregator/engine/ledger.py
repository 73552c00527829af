"""The job's ledger as this process writes it: entries in memory, then tiles and a signed checkpoint in the store.

The engine appends and says when it is written: with each commit, whose record binds the tree, and every few seconds. The
checkpoint is replaced by compare-and-swap, as HEAD is, and names the epoch of who wrote it, so that an aggregator that was
overtaken can no longer append from the moment on at which the next one takes it. What no checkpoint reaches did not happen,
and makes room then, and then alone: what an overtaken one leaves later stays, and the next entries go around it. What is
appended, and when, is in recorded.py.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fedaggregator.errors import StoreDamagedError
from fedaggregator.ports import Clock
from fedapi.crd.ledger import LedgerStatus
from fedapi.wire import signedcommit
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import Anchor, LedgerRestart
from fedapi.wire.store import Head
from fedcore.ledger import entries, merkle, tiles
from fedcore.ledger.entries import Entry, Fact
from fedcore.ledger.merkle import Frontier
from fedcore.ledger.note import Checkpoint, Signer
from fedcore.ledger.tiles import CHECKPOINT, Edge, Tile
from fedstore import ledgerrestarts, ledgers, many
from fedstore.errors import AlreadyExistsError, HeadMovedError, StoreError
from fedstore.ledgers import LedgerBrokenError
from fedstore.objectstore import ObjectStore

COPY = (
    "put the newest state of the store back, or the ledger's objects from a backup; `fedloom ledger verify` names what is broken. "
    "Where there is none, `fedloom store repair` has another ledger begun, which says so"
)
WENT_BACK = (
    "put the newest state of the store back; to go on from this one all the same, set spec.rollbackTo to a committed round, "
    "with an id that was not used, and the ledger will say so"
)
UNSIGNED = (
    "put the newest state of the store back; `fedloom store repair` goes back to the newest round that the ledger tells, where HEAD "
    "carries no signature"
)
_LAST_S = 5.0  # for the last entries of a process that ends
_EVERY_S = 5.0  # entries are in memory alone for so long
_MOST = 32  # entries that one site can cause of a kind, between two commits; of more the number is told
_Run = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Durable:
    """What the store has: the newest checkpoint, and what one needs to go on from it."""

    checkpoint: Checkpoint
    tag: str | None = None  # of its object
    edge: Edge = ()
    bundle: tuple[bytes, ...] = ()  # entries of the bundle that is not full
    partial: tuple[Tile, ...] = ()  # that the checkpoint before it has


class Ledger:
    """Of one job, in this process. Not safe for threads: appended to and taken from on the event loop, written in a thread."""

    def __init__(self, store: ObjectStore, layout: Layout, seed: bytes, clock: Clock) -> None:
        self._store, self._layout, self._clock = store, layout, clock
        self._seed, self._signer = seed, Signer(layout.ledger_origin, seed)
        self.durable = Durable(Checkpoint(self._signer.origin, 0, merkle.EMPTY))
        self._frontier, self._pending, self._since = Frontier(), list[bytes](), 0.0
        self._loaded = self._frontier  # as it was found
        self._told: dict[tuple[str, str], int] = {}  # by kind and site, since the last commit
        self._epoch = 0
        self._one = asyncio.Lock()

    @property
    def origin(self) -> str:
        """What its checkpoints are of: another one for each time that a repair had it begun anew."""
        return self._signer.origin

    @property
    def public_key(self) -> str:
        """By which its checkpoints are verified."""
        return str(self._signer.verifier)

    @property
    def anchor(self) -> Anchor:
        """All entries, those in memory included: what a commit binds."""
        return Anchor(size=self._frontier.size, root=self._frontier.root().hex())

    def status(self) -> LedgerStatus | None:
        """What the job's status says of it: what is durable. None where nothing is yet."""
        at = self.durable.checkpoint
        if not at.size:
            return None
        restarts = ledgerrestarts.number(self._layout, self.origin) or None
        return LedgerStatus(size=at.size, root=at.root.hex(), public_key=self.public_key, restarts=restarts)

    @property
    def due(self) -> bool:
        """Whether entries are in memory for long."""
        return bool(self._pending) and self._clock() - self._since >= _EVERY_S

    def append(self, kind: str, **facts: Fact | None) -> None:
        """One more entry, of a kind that fedcore.ledger.entries has."""
        data = entries.entry(kind, self._clock(), **facts).canonical()
        if not self._pending:
            self._since = self._clock()
        self._pending.append(data)
        self._frontier = self._frontier.with_leaf(merkle.leaf_hash(data))

    def signature(self, commit: CommitRecord) -> str:
        """Over a commit that HEAD will name, by the ledger's key."""
        return self._signer.signature(signedcommit.statement(self._layout.uid, commit.round, commit.sealed().digest()))

    def check_head(self, head: Head, newest: Iterable[Entry], *, begins_anew: bool = False) -> None:
        """StoreDamagedError where HEAD's commit is neither told in the ledger nor signed. Older versions kept no ledger at all."""
        told = any(ledgers.tells(each, head.commit_sha256) for each in newest)
        has_none = not self.durable.checkpoint.size and not begins_anew
        if head.commit_sha256 is None or has_none or told:
            return
        if not ledgers.is_signed(head, self._layout.uid, self._signer.verifier):
            what = f"{head.commit_key}: the ledger does not tell of this commit of round {head.round}, and it is not signed"
            raise StoreDamagedError(f"{what}: somebody else has put it there", UNSIGNED)

    def caused(self, kind: str, client: str, **facts: Fact | None) -> None:
        """One more entry that a site caused. A flood of them is counted."""
        number = self._told[kind, client] = self._told.get((kind, client), 0) + 1
        if number <= _MOST:
            self.append(kind, client=client, **facts)

    def counted(self) -> None:
        """Tells how many of them were not told, and counts anew."""
        for (kind, client), number in self._told.items():
            if number > _MOST:
                self.append(kind, client=client, omitted=number - _MOST)
        self._told = {}

    async def written(self, run: _Run) -> None:
        """Makes what is appended by now durable. `run`: of a blocking function, which is harmless when it is done again."""
        async with self._one:
            done = not self._pending
            while not done:
                new, frontier = tuple(self._pending), self._frontier
                done = self._wrote(await run(partial(self._write, new, frontier)), len(new))

    async def over(self, run: _Run) -> None:
        """The same for a process that ends: what cannot be written now was not told."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self.written(run)

    def write(self) -> None:
        """The same, while nobody appends. Blocking."""
        while not self._wrote(self._write(tuple(self._pending), self._frontier), len(self._pending)):
            pass

    def _wrote(self, durable: Durable | None, entries_: int) -> bool:
        """Whether they are. Else one more entry makes bundle and tiles others, whose names are free."""
        if durable is None:
            self.append(
                "alert", reason="FilesInTheWay", message="an aggregator that was overtaken left files of its own"
            )
            return False
        self.durable, self._since = durable, self._clock()
        del self._pending[:entries_]
        return True

    def _write(self, new: tuple[bytes, ...], frontier: Frontier) -> Durable | None:
        """Bundles and tiles, then the checkpoint that reaches them, then what none reaches any more is deleted.

        None where somebody else's files have the names of bundles or tiles that are not full.
        """
        before, size, root = self.durable, frontier.size, frontier.root()
        edge, made = tiles.grown(before.edge, before.checkpoint.size, [merkle.leaf_hash(data) for data in new])
        held, start = [*before.bundle, *new], before.checkpoint.size - len(before.bundle)
        objects: dict[Tile, bytes] = {}
        for at in range(0, len(held), tiles.WIDTH):
            some = held[at : at + tiles.WIDTH]
            objects[Tile(None, (start + at) // tiles.WIDTH, len(some))] = tiles.bundle(some)
        objects |= {each: b"".join(hashes) for each, hashes in made.items()}
        if not self._put(objects):
            return None
        tag = self._move(self._signed(size, root))
        passing = tuple(ledgers.partial_tiles(before.checkpoint.size))
        replaced = set(before.partial).difference(passing, ledgers.partial_tiles(size))
        with contextlib.suppress(StoreError):  # of a bucket that keeps what is written
            many.delete(self._store, (self._layout.ledger(each.path) for each in replaced))
        bundle = tuple(held[len(held) - len(held) % tiles.WIDTH :])
        return Durable(Checkpoint(self._signer.origin, size, root), tag, edge, bundle, passing)

    def _put(self, objects: Mapping[Tile, bytes]) -> bool:
        """Whether they are there: what this one wrote it may write again. Nothing is deleted for them, that is for the start."""
        try:
            self._store.put_together({self._layout.ledger(each.path): data for each, data in objects.items()})
        except AlreadyExistsError as error:
            if not all(each.is_partial for each in objects):  # a full one has the same name whatever comes after it
                raise HeadMovedError(f"another process writes the ledger: {error}") from error
            return False
        return True

    def _move(self, data: bytes) -> str:
        key = self._layout.ledger(CHECKPOINT)
        try:
            return self._store.replace_head(key, data, self.durable.tag).tag
        except HeadMovedError:
            found = self._store.head(key)
            if found is None or found.data != data:
                raise
            return found.tag  # an earlier try moved it and failed afterwards

    def _signed(self, size: int, root: bytes) -> bytes:
        return self._signer.signed(size, root, f"epoch {self._epoch}" if self._epoch else "")

    def take(self, epoch: int) -> None:
        """From here on no other process can append, and what no checkpoint reaches can be deleted. Blocking. HeadMovedError."""
        self._epoch, at = epoch, self.durable.checkpoint
        own = Checkpoint(self._signer.origin, at.size, at.root)
        self.durable = replace(self.durable, checkpoint=own, tag=self._move(self._signed(at.size, at.root)))

    def restart(self) -> LedgerRestart | None:
        """The last repair that had it begun anew. Blocking."""
        return ledgerrestarts.newest(self._store, self._layout)

    def load(self, bound: Anchor | None, inherits: bool, restart: LedgerRestart | None = None) -> bool:
        """Goes on from what the store has; whether that was written by another job. Blocking. StoreDamagedError.

        `bound`: what the last commit says of it. `inherits`: whether the store was restored from another job's. `restart`: the
        repair since which it is another one.
        """
        self._signer = Signer(ledgerrestarts.origin(self._layout, restart), self._seed)
        self.durable = Durable(Checkpoint(self._signer.origin, 0, merkle.EMPTY))
        try:
            found = ledgers.checkpoint(self._store, self._layout, self._signer.verifier, inherits=inherits)
            if found is not None:
                self._take(found)
            self._check_bound(bound)
        except LedgerBrokenError as error:
            raise StoreDamagedError(str(error), COPY) from error
        return inherits and self.durable.checkpoint.origin != self._signer.origin

    def _take(self, found: ledgers.Found) -> None:
        size = found.checkpoint.size
        last = [*tiles.of_level(size, None, size)]
        bundle = tuple(ledgers.bundle(self._store, self._layout, last[0])) if last else ()
        edge = ledgers.edge(self._store, self._layout, size)
        frontier = Frontier.of(ledgers.nodes(self._store, self._layout, size), size)
        if frontier.root() != found.checkpoint.root or [merkle.leaf_hash(e) for e in bundle] != [*(edge or ((),))[0]]:
            key = self._layout.ledger(CHECKPOINT)
            raise LedgerBrokenError(f"{key}: the tiles of its {size} entries do not have the root that it says")
        self.durable = Durable(found.checkpoint, found.tag, edge, bundle, tuple(ledgers.partial_tiles(size)))
        self._frontier = self._loaded = frontier

    def _check_bound(self, bound: Anchor | None) -> None:
        if bound is not None and not self.has(bound):
            size = self.durable.checkpoint.size
            text = f"the last commit is bound to {bound.size} entries with the root {bound.root}, and the ledger, of {size}"
            raise LedgerBrokenError(f"{text} entries, has another, or is shorter: an older or another one was put back")

    def has(self, known: Anchor) -> bool:
        """Whether the ledger in the store goes on from that one. Blocking. LedgerBrokenError where it cannot be read."""
        size = self.durable.checkpoint.size
        if known.size > size:
            return False
        return merkle.root(ledgers.nodes(self._store, self._layout, size), known.size).hex() == known.root

    def begin(self) -> None:
        """Forgets what was appended and is not durable: a start that the store did not let come to its end is tried again."""
        self._pending, self._frontier = [], self._loaded

    def since(self, commit_sha256: str | None) -> list[Entry]:
        """The newest entries, oldest first: back to that of this commit, or all of them. Blocking."""
        found: list[Entry] = []
        size = self.durable.checkpoint.size
        for each in reversed(list(tiles.of_level(size, None))):
            for data in reversed(ledgers.bundle(self._store, self._layout, each)):
                told = ledgers.entry(data)
                found.append(told)
                if commit_sha256 is not None and ledgers.tells(told, commit_sha256):
                    return found[::-1]
        return found[::-1]

    def tidy(self) -> None:
        """Deletes tiles that a wider one has replaced, and what no checkpoint reaches. Blocking; for the start, once it is taken."""
        size, prefix = self.durable.checkpoint.size, self._layout.ledger("")
        needed = {self._layout.ledger(each.path) for each in ledgers.all_tiles(size)}
        with contextlib.suppress(StoreError):
            found = [key for key in self._store.keys(f"{prefix}tile/") if tiles.is_path(key.removeprefix(prefix))]
            many.delete(self._store, [key for key in found if key not in needed])
        self.durable = replace(self.durable, partial=tuple(ledgers.partial_tiles(size)))
