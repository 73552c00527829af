"""Floats as floats of two bytes, rounded half to even: what Float16 and BFloat16 share. Pure.

A value that is too large becomes no infinity and is not cut off: it is an error that names it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedapi.wire.compression import Encoding
from fedcore.compression.codec import Codec, Draw, EncodingError, Kind, Part, Pass, Read
from fedcore.tensors.arithmetic import Array


@dataclass(frozen=True)
class Narrow:
    """A float type of two bytes."""

    dtype: str
    most: float  # the largest value that is not rounded to infinity is just below
    narrowed: Callable[[Array], Array]  # of values below `most`
    widened: Callable[[Array, Array], None]  # into the second array


def codec(name: str, narrow: Narrow) -> Codec:
    """The codec that sends tensors as this type."""

    def parts(kind: Kind, _encoding: Encoding) -> tuple[Part, ...]:
        return (Part("", narrow.dtype, kind.shape),)

    def encoded(values: Pass, _kind: Kind, _encoding: Encoding, _draw: Draw) -> Iterator[Array]:
        for block in values():
            size = max(float(block.max()), -float(block.min()))
            if not size < narrow.most:  # nor is NaN
                raise EncodingError(
                    f"a value of size {size:g} is not below {narrow.most:g}, the most that this codec holds"
                )
            yield narrow.narrowed(block)

    def decode(read: Read, _known: None, start: int, out: Array) -> None:
        narrow.widened(read(0, start, out.size), out)

    return Codec(name, parts, encoded, decode)
