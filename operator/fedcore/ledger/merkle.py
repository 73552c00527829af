"""Merkle trees of RFC 6962 section 2: hashes, and proofs of inclusion and of consistency, made and checked (RFC 9162 section 2.1).

Hashes are 32 bytes, SHA-256. A node is the hash over 2**level leaves from index * 2**level on, all of them there; who makes
proofs gives a function that reads nodes.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY = hashlib.sha256().digest()  # root of no leaves
Node = Callable[[int, int], bytes]  # level, index


def leaf_hash(data: bytes) -> bytes:
    """Of an entry."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two trees beside each other."""
    return hashlib.sha256(b"\1" + left + right).digest()


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All nodes over these leaf hashes, by level and index."""
    made = [list(leaves)]
    while len(made[-1]) > 1:
        below = made[-1]
        pairs = range(0, len(below) - 1, 2)
        made.append([node_hash(below[at], below[at + 1]) for at in pairs])
    return made


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root over these leaf hashes."""
    made = levels(leaves)
    return root(lambda level, index: made[level][index], len(leaves))


def root(node: Node, size: int) -> bytes:
    """Root of the first `size` leaves."""
    return _range(node, 0, size) if size else EMPTY


def inclusion(node: Node, index: int, size: int) -> list[bytes]:
    """Proof that the leaf at `index` is among the first `size`."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} among the first {size}")
    path, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(node, middle, high))
            high = middle
        else:
            path.append(_range(node, low, middle))
            low = middle
    return path[::-1]


def consistency(node: Node, old: int, size: int) -> list[bytes]:
    """Proof that the first `old` leaves are those of the tree of that size."""
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not go on from one of {old}")
    if old in (0, size):
        return []
    path: list[bytes] = []
    low, high, whole = 0, size, True
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(node, middle, high))
            high = middle
        else:
            path.append(_range(node, low, middle))
            low, whole = middle, False
    return [*([] if whole else [_range(node, low, high)]), *path[::-1]]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_: bytes) -> bool:
    """Whether the proof says that this leaf hash is at `index` of the tree with that root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root_


def is_consistent(old: int, old_root: bytes, size: int, root_: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof says that the newer tree goes on from the older (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= size:
        return False
    if old in (0, size):
        return not proof and (old_root == root_ if old else old_root == EMPTY)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and older == old_root and newer == root_


@dataclass(frozen=True)
class Frontier:
    """The right edge of a tree: all that one needs to append to it and to know its root."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()  # the largest whole trees, from the left; one for each bit of `size`

    @staticmethod
    def of(node: Node, size: int) -> "Frontier":
        """That of the first `size` leaves."""
        return Frontier(size, tuple(node(level, index) for level, index in _peaks(size)))

    def with_leaf(self, leaf: bytes) -> "Frontier":
        """The edge after one more."""
        peaks, size = [*self.peaks, leaf], self.size + 1
        while len(peaks) > size.bit_count():
            right = peaks.pop()
            peaks[-1] = node_hash(peaks[-1], right)
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """Of the tree."""
        if not self.peaks:
            return EMPTY
        found = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            found = node_hash(peak, found)
        return found


def _peaks(size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            yield level, at >> level
            at += 1 << level


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def _range(node: Node, low: int, high: int) -> bytes:
    """Root over these leaves; `low` is a multiple of the power of two that is not below their number."""
    size = high - low
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(size)
    return node_hash(_range(node, low, middle), _range(node, middle, high))
