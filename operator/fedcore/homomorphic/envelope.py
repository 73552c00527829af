"""What a foreign ciphertext must look like, before the library's parser sees it. Pure; called by contexts.py and vectors.py.

TenSEAL writes a protobuf message around SEAL's object, which is a zstd frame: parsers that are to read bytes of somebody else, and of which
the last makes gigabytes of a few bytes. But all that differs from one ciphertext of these parameters to the next is how many numbers it
has, and its coefficients, which look random and so are never compressed. So everything else is compared with a ciphertext of one's own.
"""

from dataclasses import dataclass

from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import COEFFICIENT_BYTES, SLOTS

_TAIL_BYTES = 9  # the scale
LONGEST = COEFFICIENT_BYTES + 256  # bytes of a ciphertext, its envelope included


@dataclass(frozen=True)
class Envelope:
    """All bytes of a ciphertext but its count and its coefficients."""

    head: bytes
    tail: bytes

    @staticmethod
    def of(own: bytes) -> "Envelope":
        """That of a ciphertext that this process made."""
        counted = 2 + own[1]  # a tag, a length, and the count
        return Envelope(own[counted : -COEFFICIENT_BYTES - _TAIL_BYTES], own[-_TAIL_BYTES:])

    def check(self, foreign: bytes, count: int) -> None:
        """MalformedError where the bytes are no ciphertext of so many numbers."""
        if not 1 <= count <= SLOTS:
            raise ValueError(f"a ciphertext has 1 to {SLOTS} numbers, not {count}")
        digits = _varint(count)
        head = b"\n" + bytes([len(digits)]) + digits + self.head
        size = len(head) + COEFFICIENT_BYTES + len(self.tail)
        if len(foreign) != size:
            raise MalformedError(f"a ciphertext of {count} numbers has {size} bytes, not {len(foreign)}")
        if not foreign.startswith(head) or not foreign.endswith(self.tail):
            raise MalformedError(f"the bytes are no ciphertext of {count} numbers with the parameters of this version")


def _varint(number: int) -> bytes:
    """As protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
