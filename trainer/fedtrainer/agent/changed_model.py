"""Fetches of a model only what has changed since an earlier one that the process has, and copies the other tensors from that.

Where fragments take turns (fedcore.tensors.fragments), that is the fragments of the rounds in between. It is a guess, as good as
the file's digest says: what comes out otherwise (the job went back, its fragments were changed), a server that gives whole objects
alone, and a file that cannot be written end in a download of the whole. The canonical form says where every tensor lies in a file
that nobody has seen yet. Called by work.py; requests are made by bulk.py.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fedapi.wire.download import Download
from fedcore.tensors import tensorfile
from fedcore.tensors.fragments import TooManyFragmentsError, Turn
from fedcore.tensors.tensorfile import KINDS, MalformedTensorFileError, TensorFile
from fedtrainer.agent.checkpoint_store import is_whole

log = logging.getLogger(__name__)

Range = tuple[int, int]  # first byte of an object, and the one after the last
GAP_BYTES = 64 << 10  # between two ranges: to fetch so many more costs less than another request
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Earlier:
    """A model that the process has: the file, after which round, and into how many fragments it was divided then."""

    path: Path
    round: int
    fragments: int

    def turns(self, round_: int) -> frozenset[int]:
        """The fragments that were stepped from there to the model of a round."""
        since = range(self.round + 1, min(round_, self.round + self.fragments) + 1)
        return frozenset(Turn(each, self.fragments).index for each in since)


def fetched(
    what: Download, path: Path, earlier: Earlier, round_: int, fetch: Callable[[Path, Sequence[Range]], bool]
) -> bool:
    """Whether the file was made of an earlier one; `fetch` fills ranges of it, or says that they cannot be had."""
    if earlier.path == path:
        return is_whole(path, what.sha256)
    turns = earlier.turns(round_)
    if what.content is not None or len(turns) == earlier.fragments:
        return False
    partial = path.with_suffix(".partial")
    try:
        with earlier.path.open("rb") as file:
            before = read_table(file)
            header, after = tensorfile.canonical_header(before.tensors)
            changed = _names(before, earlier.fragments, turns)
            if after.size != what.size or before.said.keys() - set(KINDS):  # encoded: other parts, in another order
                return False
            with partial.open("wb") as new:
                new.truncate(after.size)
                new.write(header)
                _copy(file, before, new, after, changed)
        needed = ranges(after, changed)
        if not fetch(partial, needed) or not is_whole(partial, what.sha256):
            log.info("the model of round %d is not the one before with a fragment changed: fetches all of it", round_)
            return False
        partial.replace(path)
    except (OSError, MalformedTensorFileError, TooManyFragmentsError) as error:
        log.warning("the model of round %d cannot be made of an earlier one (%s): fetches all of it", round_, error)
        return False
    finally:
        partial.unlink(missing_ok=True)
    size = sum(end - begin for begin, end in needed)
    log.info("fetched what has changed of the model of round %d, %d bytes of %d", round_, size, what.size)
    return True


def ranges(table: TensorFile, names: frozenset[str]) -> list[Range]:
    """Where these tensors are in a file, those that are near each other taken together."""
    found: list[Range] = []
    for tensor in table.tensors:
        if tensor.name in names and tensor.begin < tensor.end:
            near = bool(found) and tensor.begin - found[-1][1] <= GAP_BYTES
            begin = found.pop()[0] if near else tensor.begin
            found.append((begin, tensor.end))
    return found


def read_table(file: BinaryIO) -> TensorFile:
    """The tensors of an open model file that travel."""
    size = os.fstat(file.fileno()).st_size
    header = file.read(tensorfile.header_size(file.read(tensorfile.PREFIX_BYTES), size))
    return tensorfile.parsed(header, size).exchanged


def _names(table: TensorFile, count: int, turns: Iterable[int]) -> frozenset[str]:
    """The tensors of those fragments."""
    return frozenset(name for index in turns for name in Turn(index + 1, count).of(table).by_name())


def _copy(old: BinaryIO, before: TensorFile, new: BinaryIO, after: TensorFile, changed: frozenset[str]) -> None:
    begins = {tensor.name: tensor.begin for tensor in before.tensors}
    for tensor in after.tensors:
        if tensor.name not in changed:
            old.seek(begins[tensor.name])
            new.seek(tensor.begin)
            new.writelines(old.read(size) for size in _blocks(tensor.end - tensor.begin))


def _blocks(size: int) -> Iterator[int]:
    while size:
        yield (block := min(size, _BLOCK_BYTES))
        size -= block
