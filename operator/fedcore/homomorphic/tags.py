"""That an encrypted sum is of exactly the updates that sites agreed on: a linearly homomorphic MAC. Pure; called at sites.

After Agrawal and Boneh (2009, section 3), of a whole vector: with a secret that the sites of an attempt share, a site tags its coefficients c
by t = <r, c> + pad modulo the prime, where r is pseudo-random, of 32 bits for each coefficient, and the pad is of the site and of what it
hands in. The hub adds tags as it adds coefficients. A sum c with tag t is of the set S only if t - sum of pads over S = <r, c>. Pads hide r, so
that whoever lacks the secret passes another c, or another set, with a chance of 2^-32: of 2^-64 for two tags, each with an r and a pad of
its own.

Products are of limbs whose sums are exact in float64, whatever their order: 20 + 16 bits, 2^13 of them.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from fedapi.wire.tokens import hkdf
from fedcore.homomorphic.addition import TAG_NUMBERS, Coefficients, added_tags, tag_bytes
from fedcore.homomorphic.parameters import COEFFICIENTS, PRIME
from fedcore.secagg.keys import Attempt, bound

_LIMB, _LIMBS = 20, 3  # bits, and how many, of a coefficient
_KEY_LIMB, _KEY_BYTES = 16, 4  # of a number of r: two limbs
_WIDE = 16  # bytes of a pad: uniform modulo the prime to 2^-68


@dataclass(frozen=True)
class Tags:
    """Of one attempt, at a site that knows its secret."""

    secret: bytes = field(repr=False)
    attempt: Attempt

    def of(self, site: str, rows: Iterable[Coefficients]) -> tuple[str, bytes]:
        """SHA-256 and tag of a site's vector; `rows`: its ciphertexts' coefficients. Another encryption of the same has another pad."""
        digest = hashlib.sha256()

        def hashed() -> Iterable[Coefficients]:
            for row in rows:
                digest.update(np.ascontiguousarray(row, "<u8").data)
                yield row

        product = self._products(hashed())
        sha256 = digest.hexdigest()
        return sha256, added_tags([product, self._pad(site, sha256)])

    def hold(self, tag: bytes, survivors: Mapping[str, str], rows: Iterable[Coefficients]) -> bool:
        """Whether these are tag and coefficients of the sum of what these sites handed in, by SHA-256: all of it, and nothing else."""
        pads = [self._pad(site, sha256) for site, sha256 in survivors.items()]
        return hmac.compare_digest(added_tags([self._products(rows), *pads]), tag)

    def _products(self, rows: Iterable[Coefficients]) -> bytes:
        """<r, c> for each r."""
        streams = [self._stream(number) for number in range(TAG_NUMBERS)]
        totals, zeros = [0] * TAG_NUMBERS, bytes(_KEY_BYTES * COEFFICIENTS)
        for row in rows:
            limbs = _limbs(row)
            for number, stream in enumerate(streams):
                r = np.frombuffer(stream.update(zeros), "<u4")
                totals[number] = (totals[number] + _product(limbs, r)) % PRIME
        return tag_bytes(totals)

    def _stream(self, number: int) -> CipherContext:
        key = hkdf(self.secret, bound("tag key", bytes([number]), self.attempt.context, self.attempt.participants))
        return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def _pad(self, site: str, sha256: str) -> bytes:
        place = (self.attempt.context, self.attempt.participants, site.encode(), bytes.fromhex(sha256))
        wide = (hkdf(self.secret, bound("tag pad", bytes([number]), *place), _WIDE) for number in range(TAG_NUMBERS))
        return tag_bytes(int.from_bytes(each, "little") % PRIME for each in wide)


def _limbs(row: Coefficients) -> NDArray[np.float64]:
    mask = np.uint64((1 << _LIMB) - 1)
    return np.stack([row >> np.uint64(_LIMB * n) & mask for n in range(_LIMBS)]).astype(np.float64)


def _product(limbs: NDArray[np.float64], r: NDArray[np.uint32]) -> int:
    halves = np.stack([r & np.uint32(0xFFFF), r >> np.uint32(_KEY_LIMB)], axis=1).astype(np.float64)
    products = limbs @ halves
    return sum(int(each) << (_LIMB * n + _KEY_LIMB * m) for (n, m), each in np.ndenumerate(products))
