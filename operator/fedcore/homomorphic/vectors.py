"""A flat vector of whole numbers as ciphertexts of 2048 each: encrypted at a site, added up at the hub, decrypted at the sites.

All work is ciphertext by ciphertext: memory is that of a few, however long the vector is. An encrypted vector is its ciphertexts one after
the other. All but the last are as long, so nothing between them has to be believed.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tenseal as ts
from numpy.typing import NDArray

from fedcore.homomorphic.contexts import HubContext, SiteKey, encrypted, foreign
from fedcore.homomorphic.errors import MalformedError, NotASumError
from fedcore.homomorphic.parameters import LARGEST, SLOTS

_FARTHEST = 0.25  # from a whole number: thousands of standard deviations of the scheme's error

Numbers = NDArray[np.int32]


def ciphertexts(key: SiteKey, numbers: Numbers) -> Iterator[bytes]:
    """A site's vector, encrypted. The same numbers give other bytes each time."""
    for at in range(0, numbers.size, SLOTS):
        yield encrypted(key.library, numbers[at : at + SLOTS].tolist())


def added(hub: HubContext, vectors: Iterable[Iterable[bytes]], items: int) -> Iterator[bytes]:
    """The sum of the sites' vectors of so many numbers, encrypted as they are. MalformedError for what is none."""
    open_ = [iter(vector) for vector in vectors]
    for count in _counts(items):
        total = _parsed(hub, next(open_[0], b""), count)
        for vector in open_[1:]:
            with foreign("the ciphertexts cannot be added"):
                total.add_(_parsed(hub, next(vector, b""), count))
        yield bytes(total.serialize())


def decrypted(key: SiteKey, total: Iterable[bytes], items: int) -> Numbers:
    """The sum, at a site: the same numbers at each. NotASumError where it is none, MalformedError for what is no ciphertext."""
    found, open_ = np.empty(items, np.int32), iter(total)
    for at, count in zip(range(0, items, SLOTS), _counts(items), strict=True):
        values = np.array(_parsed(key, next(open_, b""), count).decrypt())
        whole = np.rint(values)
        if not (np.abs(values - whole) < _FARTHEST).all() or np.abs(whole).max() > LARGEST:
            raise NotASumError(
                "what was decrypted is no sum of whole numbers: it was encrypted with another key, or by nobody"
            )
        found[at : at + count] = whole
    return found


def _counts(items: int) -> Iterator[int]:
    """Of the ciphertexts of a vector."""
    return (min(SLOTS, items - at) for at in range(0, items, SLOTS))


def _parsed(context: HubContext, ciphertext: bytes, count: int) -> Any:
    """A foreign ciphertext. One whose second polynomial is 0 hides nothing, and nobody encrypts so."""
    context.envelope.check(ciphertext, count)
    with foreign("the bytes are no ciphertext"):
        vector = ts.ckks_vector_from(context.library, ciphertext)
        is_open = vector.ciphertext()[0].is_transparent()
    if is_open:
        raise MalformedError("a ciphertext is transparent")
    return vector
