"""Vectors of sites added up without a look at what is in them: under masks, or encrypted. Blocking.

Called by unmasking.py, and for encrypted updates by interpreter.py before sites open their sum. Memory is one block of each file and a few of
the sum; integers are added, so no order and no block size decides a bit. What is read is verified in the same pass.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.verified import BLOCK_BYTES, Checked, Request, ahead
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.update import UPDATE
from fedcore.homomorphic import addition
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import COEFFICIENT_BYTES, COEFFICIENTS
from fedcore.rounds.effects import Fold
from fedcore.secagg import masking
from fedcore.secagg.errors import AttemptFailedError
from fedcore.tensors.arithmetic import Array
from fedstore.objectstore import DIGEST, ObjectStore

ROOM_BYTES, LEAST_BYTES = 64 << 20, 64 << 10  # blocks of all files together, and one of them
_READERS = max(2, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class Integers:
    """What vectors are of, and how they are added."""

    dtype: str
    add: Callable[[Array, Array], None]  # to a sum, in place

    @property
    def size(self) -> int:
        """Bytes of one."""
        return np.dtype(self.dtype).itemsize


RING = Integers("<u4", masking.add)  # modulo 2^32
COEFFICIENT = Integers("<u8", addition.add)  # modulo the prime of the scheme


def block_bytes(updates: int) -> int:
    """Of one file, where so many are added."""
    return max(LEAST_BYTES, min(BLOCK_BYTES, ROOM_BYTES // updates & -64))


def totals(readers: Sequence[Checked], counts: Sequence[int], integers: Integers) -> Iterator[Array]:
    """The sums of parts of the files, of so many integers each, one after the other; each is valid until the next is asked for."""
    most = max(counts, default=0)
    room = [memoryview(bytearray(integers.size * most)) for _ in readers]

    def requests() -> Iterator[Request]:
        offset = 0
        for count in counts:
            extent = (offset, integers.size * count)
            for reader, buffer in zip(readers, room, strict=True):
                yield Request(reader, (extent,), buffer)
            offset += integers.size * count

    total = np.empty(most, integers.dtype)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="adding") as threads:
        blocks = ahead(requests(), threads, len(readers))
        for count in counts:
            found = total[:count]
            found[:] = 0
            for _ in readers:
                integers.add(found, np.frombuffer(next(blocks), integers.dtype))
            yield found


def check(sent: Sequence[Sent], readers: Sequence[Checked]) -> None:
    """DamagedError names files that are not what was accepted. Reads what was not read."""
    damaged = {
        each.ref.key: trouble for each, reader in zip(sent, readers, strict=True) if (trouble := reader.trouble())
    }
    if damaged:
        raise DamagedError(damaged)


def added(
    store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]
) -> ObjectRef:
    """The sum of the encrypted updates of a fold, in the store: coefficients, as each of them has.

    DamagedError names updates that are not what was accepted; AttemptFailedError where one is none of the scheme.
    """
    sent = [Sent(term.payloads[UPDATE], order.place(layout.uid, term, UPDATE)) for term in order.terms]
    size = sent[0].ref.size
    counts = _counts(size // COEFFICIENT_BYTES, block_bytes(len(sent)) // COEFFICIENT_BYTES)
    with ExitStack() as files:
        readers = [files.enter_context(payloads.accepted(each)) for each in sent]
        key = layout.sum_of_updates(order.round, DIGEST)
        writer = payloads.fingerprints.noted(files.enter_context(store.writer(key, size=size)))
        try:
            for total in totals(readers, counts, COEFFICIENT):
                if cancelled():
                    raise WorkCancelledError(f"sum of round {order.round} stopped")
                writer.write(total.data.cast("B"))
        except MalformedError as error:
            check(sent, readers)
            raise AttemptFailedError(f"an encrypted update cannot be added: {error}") from error
        check(sent, readers)
        return writer.finish()


def _counts(ciphertexts: int, together: int) -> list[int]:
    """Coefficients of each part of a vector."""
    most = max(1, together)
    return [COEFFICIENTS * min(most, ciphertexts - at) for at in range(0, ciphertexts, most)]
