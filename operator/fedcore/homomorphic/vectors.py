"""A flat vector of whole numbers as ciphertexts of 2048 each: encrypted at a site, and a sum decrypted there.

All work is ciphertext by ciphertext: memory is that of a few, however long the vector is. addition.py has how they are added.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import tenseal as ts
from numpy.typing import NDArray

from fedcore.homomorphic.addition import Coefficients, check
from fedcore.homomorphic.contexts import SiteKey, encrypted, foreign
from fedcore.homomorphic.errors import MalformedError, NotASumError
from fedcore.homomorphic.parameters import DEGREE, LARGEST, SLOTS

_FARTHEST = 0.25  # from a whole number: thousands of standard deviations of the scheme's error

Numbers = NDArray[np.int32]


def encrypted_rows(key: SiteKey, numbers: Numbers) -> Iterator[Coefficients]:
    """The coefficients of a site's vector, ciphertext by ciphertext. The same numbers give others each time."""
    for at in range(0, numbers.size, SLOTS):
        part = numbers[at : at + SLOTS]
        coefficients = key.envelope.coefficients(encrypted(key.library, part.tolist()), part.size)
        yield np.frombuffer(coefficients, "<u8")


def decrypted(key: SiteKey, rows: Iterable[Coefficients], items: int) -> Numbers:
    """The sum, at a site: the same numbers at each. NotASumError where it is none, MalformedError for what is no ciphertext."""
    found = np.empty(items, np.int32)
    for at, row in zip(range(0, items, SLOTS), rows, strict=True):
        count = min(SLOTS, items - at)
        check(row)
        if not row[DEGREE:].any():  # nobody encrypts so: it hides nothing
            raise MalformedError("a ciphertext is transparent")
        with foreign("the coefficients are no ciphertext"):
            ciphertext = key.envelope.around(row.astype("<u8").tobytes(), count)
            values = np.array(ts.ckks_vector_from(key.library, ciphertext).decrypt())
        whole = np.rint(values)
        if not (np.abs(values - whole) < _FARTHEST).all() or np.abs(whole).max() > LARGEST:
            raise NotASumError(
                "what was decrypted is no sum of whole numbers: it was encrypted with another key, or by nobody"
            )
        found[at : at + count] = whole
    return found
