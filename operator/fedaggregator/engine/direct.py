"""Weighted sums of updates that compiled code reads by itself: files of this machine that are known by their fingerprints.

One call reads a span of each update in turn, notes what was read and adds it while it is in the cache; meanwhile other threads run,
and nothing of Python has to come back into the cache for each block. The bits are those of terms read one after the other.
Called by blocks.py. Whatever is not like that (encrypted, encoded, of a bucket, without the library) is read as ever.
"""

import threading
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fedaggregator.engine.sources import Places, Source
from fedaggregator.engine.verified import KnownReader
from fedcore.strategies.weighing import Weight
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.kernels import READ


class Direct:
    """All updates of a fold. Used by any threads."""

    def __init__(self, sources: Sequence[Source], weights: Sequence[Weight]) -> None:
        self._readers = [source.reader for source in sources if isinstance(source.reader, KnownReader)]
        files = [reader.native for reader in self._readers if reader.native is not None]
        ready = bool(sources) and len(files) == len(sources)
        self._read = files[0].read if ready else 0
        self._offsets = _offsets([source.places for source in sources]) if ready else None
        numbers = [native.file for native in files]
        self._terms = {
            remembered: _terms(numbers, [weight.parameters if remembered else weight.others for weight in weights])
            for remembered in (False, True)
            if ready
        }
        self._lock = threading.Lock()
        self._sums, self._seen = np.zeros((len(sources), 2), np.uint64), np.zeros(len(sources), np.int64)

    def sum_to(self, total: Array, index: int, remembered: bool, room: memoryview) -> int:
        """Makes a total of float32 the sum of weight * what updates have of a span, one after the other: how many.

        What is left is to be read as ever, which also says why it cannot be, where it cannot. Of none the total is as it was.
        """
        if self._offsets is None or (self._offsets[index] < 0).any() or (made := self._terms[remembered]) is None:
            return 0
        terms = made.copy()
        terms["offset"] = self._offsets[index]
        done = self._readers[0].fingerprints.sum_read(total, terms, self._read, room[: total.nbytes])
        with self._lock:
            self._sums[:done] += terms["sums"][:done]
            self._seen[:done] += total.nbytes
        return done

    def note(self) -> None:
        """Tells the readers what was read of their objects since the last time."""
        with self._lock:
            for reader, (first, second), seen in zip(
                self._readers, self._sums.tolist(), self._seen.tolist(), strict=False
            ):
                reader.note((first, second), seen)
            self._sums[...] = 0
            self._seen[...] = 0


def _terms(files: Sequence[int], shares: Sequence[Fraction]) -> Array | None:
    """As compiled code is told; None where one counts nothing, which adds nothing, not even a rounding."""
    if not all(shares):
        return None
    made = np.zeros(len(files), READ)
    made["file"], made["weight"] = files, [float(share) for share in shares]
    return made


def _offsets(places: Sequence[Places]) -> Array:
    """Where files have spans, spans x files; -1 where one has a span in several parts."""
    columns: dict[int, list[int]] = {}
    for each in places:  # which most files share
        if id(each) not in columns:
            columns[id(each)] = [extents[0][0] if len(extents) == 1 else -1 for extents in each]
    return np.array([columns[id(each)] for each in places], np.int64).T.copy()
