"""What TenSEAL writes around the coefficients of a ciphertext. Pure; called by contexts.py and vectors.py.

It is a protobuf message around SEAL's object, which is a zstd frame: parsers of which the last makes gigabytes of a few bytes. But all that
differs from one ciphertext of these parameters to the next is how many numbers it has, and its coefficients, which look random and so are
never compressed. So coefficients travel alone, and the site that decrypts puts them into an envelope of its own.
"""

from dataclasses import dataclass

from fedcore.homomorphic.parameters import COEFFICIENT_BYTES

_TAIL_BYTES = 9  # the scale


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

    def around(self, coefficients: bytes, count: int) -> bytes:
        """The ciphertext of so many numbers with these coefficients."""
        digits = _varint(count)
        return b"\n" + bytes([len(digits)]) + digits + self.head + coefficients + self.tail

    def coefficients(self, own: bytes, count: int) -> bytes:
        """Those of a ciphertext that this process made; ValueError where the library wrote it in another way than others."""
        found = own[-COEFFICIENT_BYTES - _TAIL_BYTES : -_TAIL_BYTES]
        if self.around(found, count) != own:
            raise ValueError("this version of TenSEAL writes ciphertexts in a way that is not known")
        return found


def _varint(number: int) -> bytes:
    """As protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
