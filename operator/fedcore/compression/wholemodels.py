"""How a whole model is encoded, for the way down: which of its tensors, and with which draws. Pure; called by the engine.

Whoever makes a model knows its parameters, whoever encodes a later one has its tensors alone. So shapes decide: what has two
dimensions is encoded, and of vectors those that are too long for statistics of channels. A variance with an error of its block's
scale may be 0, and what is divided by it is none; biases and norms, the other short vectors, are few bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator

from fedapi.wire.compression import Encoding
from fedapi.wire.seeds import derived
from fedcore.compression import fileform
from fedcore.compression.codec import Draw, Pass, noise
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import Tensor

LONG = 1 << 16  # values of a vector that has more of them than any layer has channels


def chosen(tensors: Iterable[Tensor], encoding: Encoding, plain: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of the tensors that are encoded. `plain`: those that the codec turned out not to hold."""
    tensors = tuple(tensors)
    among = frozenset(t.name for t in tensors if _is_weight(t)) - plain
    return fileform.worth(tensors, among, encoding)


def parts(tensor: Tensor, values: Pass, encoding: Encoding, seed: int) -> Iterator[Array]:
    """The bytes of a tensor's parts. EncodingError as codecs say.

    Draws are of the seed, the tensor's name and what comes before them, its scales: a tensor that is the same in the next model
    is the same bytes there, and one that has changed is rounded by others.
    """
    before, drawn = hashlib.sha256(), list[Draw]()

    def draw(count: int) -> Array:
        if not drawn:
            drawn.append(noise(derived(seed, tensor.name, before.hexdigest())))
        return drawn[0](count)

    for part in fileform.codec_of(encoding).encode(values, fileform.kind_of(tensor), encoding, draw):
        if not drawn:
            before.update(part.tobytes())
        yield part


def _is_weight(tensor: Tensor) -> bool:
    return len(tensor.shape) > 1 or fileform.kind_of(tensor).items > LONG
