"""A ledger as static files (C2SP tlog-tiles): tiles of 256 hashes, bundles of 256 entries, paths that say which. Pure.

A tile of level n holds nodes of level 8n. One that is not full yet has its width in its path; it is written anew, under another
path, until it is full, so no file is ever changed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fedcore.ledger import merkle

WIDTH, HEIGHT = 256, 8
CHECKPOINT = "checkpoint"
PARTIAL = ".p/"  # in the path of a tile that is not full, before its width
Edge = tuple[tuple[bytes, ...], ...]  # by level: hashes of the tile that is not full, none where there is none
MAX_ENTRY_BYTES = (1 << 16) - 1  # a bundle tells lengths in two bytes
MAX_SIZE = 1 << 53  # leaves: every reader of JSON has the number


class MalformedTileError(ValueError):
    """Bytes that are no tile, or no bundle, of that width. `entries`: how many of a bundle are whole."""

    def __init__(self, message: str, entries: int = 0) -> None:
        super().__init__(message)
        self.entries = entries


@dataclass(frozen=True)
class Tile:
    """Which file: of hashes of a level, or of entries where `level` is None."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the ledger's prefix."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f"{PARTIAL}{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{number}{partial}"

    @property
    def is_partial(self) -> bool:
        """Whether a wider one comes after it."""
        return self.width < WIDTH


def tile(size: int, level: int | None, index: int) -> Tile:
    """The tile of that place in a ledger of that size, as wide as it can be."""
    nodes = size >> HEIGHT * (level or 0)
    width = min(WIDTH, nodes - index * WIDTH)
    if width <= 0:
        raise ValueError(f"a ledger of {size} entries has no tile {index} of level {level}")
    return Tile(level, index, width)


def of_level(size: int, level: int | None, since: int = 0) -> Iterator[Tile]:
    """Those of a level, from the one on in which leaf `since` is, or will be."""
    nodes = size >> HEIGHT * (level or 0)
    for index in range((since >> HEIGHT * (level or 0)) // WIDTH, -(-nodes // WIDTH)):
        yield tile(size, level, index)


def hash_tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """Tiles of hashes of a ledger, all levels; `since`: that are not those of a ledger of that size."""
    level = 0
    while size >> HEIGHT * level:
        if size >> HEIGHT * level != since >> HEIGHT * level:
            yield from of_level(size, level, since)
        level += 1


def bundle(entries: Sequence[bytes]) -> bytes:
    """The file of some entries."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_of(data: bytes, width: int) -> list[bytes]:
    """The inverse. MalformedTileError says how many are whole."""
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) < width:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            break
        found.append(data[at + 2 : end])
        at = end
    if len(found) < width:
        raise MalformedTileError(f"it ends after {len(found)} of {width} entries", len(found))
    if at != len(data):
        raise MalformedTileError(f"{len(data) - at} bytes follow its {width} entries", width)
    return found


def hashes_of(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile. MalformedTileError."""
    if len(data) != width * merkle.HASH_BYTES:
        raise MalformedTileError(f"it has {len(data)} bytes, {width * merkle.HASH_BYTES} are needed")
    return [data[at : at + merkle.HASH_BYTES] for at in range(0, len(data), merkle.HASH_BYTES)]


def grown(edge: Edge, size: int, leaves: Sequence[bytes]) -> tuple[Edge, dict[Tile, Sequence[bytes]]]:
    """The edge of a ledger of that size once it has these leaves, too, and the tiles that are written for it."""
    levels: list[tuple[bytes, ...]] = []
    made: dict[Tile, Sequence[bytes]] = {}
    new = list(leaves)
    while new or len(levels) < len(edge):
        level = len(levels)
        held = [*(edge[level] if level < len(edge) else ()), *new]
        first, above = (size >> HEIGHT * level) // WIDTH, []
        for at in range(0, len(held), WIDTH):
            hashes = held[at : at + WIDTH]
            if new:
                made[Tile(level, first + at // WIDTH, len(hashes))] = hashes
            if len(hashes) == WIDTH:
                above.append(merkle.root_of(hashes))
        levels.append(tuple(held[len(held) - len(held) % WIDTH :]))
        new = above
    return tuple(levels), made


def nodes(size: int, read: Callable[[Tile], Sequence[bytes]]) -> merkle.Node:
    """Nodes of a ledger of that size, from its tiles, each of which is read once."""
    known: dict[Tile, Sequence[bytes]] = {}

    def node(level: int, index: int) -> bytes:
        high, inside = divmod(level, HEIGHT)
        first, count = index << inside, 1 << inside
        place = tile(size, high, first // WIDTH)
        if place not in known:
            known[place] = read(place)
        start = first % WIDTH
        return merkle.root_of(known[place][start : start + count])

    return node
