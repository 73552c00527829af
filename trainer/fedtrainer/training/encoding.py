"""Encodes the tensors of an update while they are written, where the order names a codec. Made by session.py, called by tensors.py.

Parameters alone are encoded: a buffer is small, or has an error that nothing puts right, such as a variance below zero. With error
feedback what was not sent of a tensor is its residual, which is added to its next update; it is part of the site's state
(site_state.py), so it becomes current with its update or not at all. Rank 0 encodes; nobody else sees an update.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from fedapi.wire.compression import Compression
from fedapi.wire.seeds import derived
from fedcore.compression import fileform
from fedcore.compression.codec import PASS_ITEMS, EncodingError, Kind, noise
from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile
from fedtrainer.errors import DivergedError

log = logging.getLogger(__name__)

Delta = Callable[[], Iterator[torch.Tensor]]  # a pass over local - base, in blocks of PASS_ITEMS


@dataclass
class Encoder:
    """Of one update."""

    compression: Compression
    seed: int  # of this site in this round: a training that is repeated gives the same bytes
    parameters: frozenset[str]
    before: Mapping[
        str, torch.Tensor
    ]  # residuals that the site's last committed update has left, by name of the tensor
    left: dict[str, torch.Tensor] = field(default_factory=dict)  # those of this one, once it is written
    _kinds: dict[str, Tensor] = field(default_factory=dict)

    def header(self, tensors: Iterable[Tensor]) -> tuple[bytes, TensorFile]:
        """Prefix and header of the file, for the tensors of the plain one in their order."""
        tensors = tuple(tensors)
        chosen = fileform.worth(tensors, self.parameters, self.compression.encoding)
        self._kinds = {tensor.name: tensor for tensor in tensors if tensor.name in chosen}
        return fileform.header(tensors, chosen, self.compression.encoding)

    def encodes(self, name: str) -> bool:
        """Whether a tensor is sent as its parts."""
        return name in self._kinds

    def blocks(self, name: str, delta: Delta) -> Iterator[memoryview]:
        """The bytes of a tensor's parts. DivergedError where the codec cannot hold a value: none is cut off unnoticed."""
        kind, encoding = fileform.kind_of(self._kinds[name]), self.compression.encoding
        codec, sent = fileform.codec_of(encoding), bytearray()
        values = partial(self._values, name, delta, kind)
        try:
            for part in codec.encode(values, kind, encoding, noise(derived(self.seed, name))):
                data = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
                if self.compression.error_feedback:
                    sent += data
                yield data
        except EncodingError as error:
            way_out = "choose another compression.codec (BFloat16 has float32's range), or lower training.optimizer.learningRate"
            raise DivergedError(f"tensor {name!r} cannot be sent as {codec.name}: {error}: {way_out}") from error
        if self.compression.error_feedback:
            self.left[name] = self._left(name, values, kind, sent)

    def _values(self, name: str, delta: Delta, kind: Kind) -> Iterator[Array]:
        """What is to be sent, in float32: the change, and what was left of the changes before."""
        before = self._before(name, kind)
        room, at = np.empty(PASS_ITEMS, np.float32), 0
        for block in delta():
            values = block.to(torch.float32).numpy()
            if before is not None:
                values = np.add(values, before[at : at + values.size], out=room[: values.size])
            if (before is not None or kind.dtype == "F64") and not arithmetic.finite("F32", values):
                raise EncodingError("a value is over 3.4e38, the most that float32 holds")
            yield values
            at += values.size

    def _before(self, name: str, kind: Kind) -> Array | None:
        before = self.before.get(name) if self.compression.error_feedback else None
        if before is None:
            return None
        if tuple(before.shape) == kind.shape and before.dtype == torch.float32:
            found: Array = before.reshape(-1).numpy()
            return found
        log.warning("tensor %r: what was left of it is %s, and is not used", name, tuple(before.shape))
        return None

    def _left(self, name: str, values: Callable[[], Iterator[Array]], kind: Kind, sent: bytearray) -> torch.Tensor:
        """What of the values whoever decodes the parts will not see."""
        encoding = self.compression.encoding
        codec, parts = fileform.codec_of(encoding), fileform.parts_of(self._kinds[name], encoding)
        begins = np.cumsum([0, *(part.end for part in parts)])

        def read(index: int, first: int, items: int) -> Array:
            item = ITEM_BYTES[parts[index].dtype]
            begin = int(begins[index]) + first * item
            return arithmetic.stored(parts[index].dtype, memoryview(sent)[begin : begin + items * item])

        known = codec.index(read, kind, encoding)
        left, at = np.empty(kind.items, np.float32), 0
        for block in values():
            its = left[at : at + block.size]
            codec.decode(read, known, at, its)
            if ITEM_BYTES[kind.dtype] == 2:  # the hub makes a narrow tensor of it again
                arithmetic.decoded(kind.dtype, arithmetic.encoded(kind.dtype, its), its)
            np.subtract(block, its, out=its)
            at += block.size
        return torch.from_numpy(left).reshape(kind.shape)
