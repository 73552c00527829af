"""An update as the vector that is summed: its floating tensors in their order, clipped to the range, weighed, and made whole steps.

Called by securing.py and its exchanges. With noise (mode Distributed) it is clipped to its norm and gets this site's share of the noise in place of that.
No torch here; the numbers are those of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedapi.wire.secagg import Participants
from fedapi.wire.secureround import FIELDS, SecureOrder
from fedcore.privacy.distributed import lattice
from fedcore.secagg import vector
from fedcore.secagg.errors import RefusedError
from fedcore.secagg.quantization import Scale
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import MalformedTensorFileError, Tensor
from fedtrainer.errors import RejectedError

OUT_OF_RANGE, UNFIT = "ValueOutOfRange", "WrongShape"  # codes of what a site cannot send
_BLOCK = 1 << 18  # items at once


@dataclass(frozen=True)
class Values:
    """The numbers of one update that are summed."""

    path: Path
    tensors: tuple[Tensor, ...]
    order: SecureOrder

    @property
    def items(self) -> int:
        """How many."""
        return self.order.terms.items

    def beyond(self) -> int:
        """How many are beyond the range: clipped where the order says so, RejectedError with their number where not.

        With noise all of the update is clipped to its norm, which is no loss that has to be told.
        """
        if self.order.privacy is not None:
            return 0
        limit = self.order.terms.limit
        found = sum(int(np.count_nonzero(~(np.abs(block) <= limit))) for block in self._blocks())
        if found and self.order.overflow == "Fail":
            field = FIELDS[self.order.terms.scheme]
            way_out = f"raise {field}.valueRange, set overflow: Clip, or lower training.optimizer.learningRate"
            raise RejectedError(OUT_OF_RANGE, f"{found} of {self.items} values are larger than {limit:g}: {way_out}")
        return found

    def encoded(self, weight: float, noise_key: bytes) -> Array:
        """What is masked or encrypted: uint32. `noise_key`: of this attempt alone, and of this site."""
        if (done := self.order.privacy) is not None:
            noisy = lattice.of(self.order.terms, done.clip_norm, done.noise_multiplier)
            return noisy.contribution(np.concatenate(list(self._blocks())), noise_key)
        terms, at = self.order.terms, 0
        scale, out = Scale(terms.limit, len(terms.roster)), np.empty(terms.items, "<u4")
        for block in self._blocks():
            inside = np.clip(block, -terms.limit, terms.limit, out=block)
            scale.encoded(np.multiply(inside, weight, out=inside), out[at : at + block.size])
            at += block.size
        return out

    def _blocks(self) -> Iterator[Array]:
        """All values as float64, block by block; each is the caller's own."""
        data = np.memmap(self.path, np.uint8, "r")
        for tensor in self.tensors:
            items = arithmetic.stored(tensor.dtype, data[tensor.begin : tensor.end])
            for at in range(0, items.size, _BLOCK):
                part = items[at : at + _BLOCK]
                yield arithmetic.decoded(tensor.dtype, part, np.empty(part.size, np.float32)).astype(np.float64)


@dataclass(frozen=True)
class Contribution:
    """What one site adds to the sum: its update's values, as its samples count among those of all."""

    values: Values
    samples: int

    def check(self, participants: Participants) -> None:
        """RefusedError for other weights than it agrees to.

        Noise is sized for updates that count alike; without it each counts by its samples, and none for more than whole.
        """
        whole, noise = participants.whole_samples, self.values.order.privacy is not None
        if noise and whole is not None:
            raise RefusedError("updates with noise of the sites are to count alike, and the hub weighs them by samples")
        if not noise and whole is not None and whole < self.samples:
            raise RefusedError(f"the hub names {whole} samples as the most, this site has {self.samples}")

    def encoded(self, participants: Participants, noise_key: bytes) -> Array:
        """As of Values, weighed."""
        return self.values.encoded(vector.weight(self.samples, participants.whole_samples), noise_key)


def values(path: Path, order: SecureOrder) -> Values:
    """Of an update's file. RejectedError where the hub counts others than this site has."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            header = file.read(tensorfile.header_size(file.read(tensorfile.PREFIX_BYTES), size))
        table = tensorfile.parsed(header, size)
    except (OSError, MalformedTensorFileError) as error:
        raise RejectedError(UNFIT, f"the update cannot be read: {error}") from error
    own = table.by_name()
    tensors = tuple(own[each.name] for each in vector.carried(table, order.tensors))
    if (found := vector.items(tensors)) != order.terms.items:
        text = f"the order is about {order.terms.items} values, the update has {found}"
        raise RejectedError(UNFIT, f"{text}: the task trains another model than the job's")
    return Values(path, tensors, order)
