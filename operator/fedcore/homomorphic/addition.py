"""Encrypted vectors are added: all that a hub does, with no key and without the library. Pure; sites use it to read a sum.

A vector of n numbers is ceil(n / 2048) ciphertexts, each of 8192 coefficients below the prime, as little-endian uint64 and nothing
between. It adds up modulo the prime, and so do tags (tags.py).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import COEFFICIENT_BYTES, PRIME, SLOTS

TAG_NUMBERS, TAG_NUMBER_BYTES = 2, 8

Coefficients = NDArray[np.uint64]


def size(items: int) -> int:
    """Bytes of an encrypted vector of so many numbers."""
    return -(-items // SLOTS) * COEFFICIENT_BYTES


def add(total: Coefficients, part: Coefficients) -> None:
    """Adds a part of a vector to the sum of the same part of others, in place. MalformedError for what is no part of one."""
    check(part)
    np.add(total, part, out=total)
    np.subtract(total, np.uint64(PRIME), out=total, where=total >= np.uint64(PRIME))


def check(part: Coefficients) -> None:
    """MalformedError where a coefficient is not below the prime."""
    if part.size and int(part.max()) >= PRIME:
        raise MalformedError("a coefficient is not below the prime of the scheme")


def added_tags(tags: Iterable[bytes]) -> bytes:
    """The tag of a sum, of those of its parts. MalformedError for what is no tag."""
    totals = [0] * TAG_NUMBERS
    for tag in tags:
        totals = [(total + number) % PRIME for total, number in zip(totals, tag_numbers(tag), strict=True)]
    return tag_bytes(totals)


def tag_numbers(tag: bytes) -> list[int]:
    """Both numbers of a tag. MalformedError for what is none."""
    found = [int.from_bytes(tag[at : at + TAG_NUMBER_BYTES], "little") for at in range(0, len(tag), TAG_NUMBER_BYTES)]
    if len(tag) != TAG_NUMBERS * TAG_NUMBER_BYTES or max(found) >= PRIME:
        raise MalformedError("a tag is not two numbers below the prime of the scheme")
    return found


def tag_bytes(numbers: Iterable[int]) -> bytes:
    """A tag of its numbers."""
    return b"".join(number.to_bytes(TAG_NUMBER_BYTES, "little") for number in numbers)
