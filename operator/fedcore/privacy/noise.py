"""Standard normal numbers from a key: number i of tensor t is the same whoever asks for it, in whichever piece. Pure.

AES-256 in counter mode gives 64 bits per number: a sign, and 63 bits of a probability whose quantile it is (Wichura 1988, algorithm
AS 241, of 16 digits). Only + - * / and square roots, which IEEE 754 rounds correctly, and bits of the numbers themselves: so the
bits depend on no processor, and a fold that is done again has the same noise. Tails end at 9.1 standard deviations.
Called by the engine's fold. The key is the caller's, as secret as the updates: who has it can take the noise away again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Normals = NDArray[np.float64]
_PER_BLOCK = 2  # numbers of a block of AES
_BLOCK = 16  # its bytes
# AS 241: numerator and denominator, highest power first, within 0.425 of the median, and outside of it up to and beyond r = 5.
_MIDDLE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_TAIL = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_END = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.2426609473880784386e-3, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip
_LN2_HIGH, _LN2_LOW = (
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)  # ln 2, so that a whole number of it is exact
_LOG_TERMS = 12  # of the series of the logarithm: what is left out is below a float's last bit


def normals(key: bytes, tensor: int, start: int, count: int) -> Normals:
    """So many numbers of a tensor from number `start` on. The key has 32 bytes."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 - 7 MB, 30 ms

    first, skipped = divmod(start, _PER_BLOCK)
    blocks = -(-(skipped + count) // _PER_BLOCK)
    counter = tensor.to_bytes(8, "big") + first.to_bytes(8, "big")
    stream = Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor().update(bytes(blocks * _BLOCK))
    return quantiles(np.frombuffer(stream, "<u8")[skipped : skipped + count])


def quantiles(words: NDArray[np.uint64]) -> Normals:
    """The number that 64 bits stand for: the last is the sign, the others say how far it is from the median."""
    half = (words >> np.uint64(1)).astype(np.float64)  # of 2^63
    p = (half + 0.5) * 2.0**-64  # over 0, at most 1/2
    q = 0.5 - p
    found = np.empty(words.size)
    middle = q <= 0.425
    near = q[middle]
    found[middle] = near * _ratio(_MIDDLE, 0.180625 - near * near)
    r = np.sqrt(-_log(p[~middle]))
    far = np.empty(r.size)
    end = r > 5.0
    far[~end] = _ratio(_TAIL, r[~end] - 1.6)
    far[end] = _ratio(_END, r[end] - 5.0)
    found[~middle] = far
    np.negative(found, out=found, where=(words & np.uint64(1)).astype(bool))
    return found


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], r: Normals) -> Normals:
    above, below = (_polynomial(each, r) for each in coefficients)
    return above / below


def _polynomial(coefficients: Sequence[float], r: Normals) -> Normals:
    """By Horner's rule, each product and each sum rounded by itself."""
    total = np.full(r.size, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= r
        total += coefficient
    return total


def _log(x: Normals) -> Normals:
    """Ln x: of x = m 2^e, with m near 1, by ln m = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1) / (m + 1)."""
    m, e = np.frexp(x)
    small = m < np.sqrt(0.5)
    m, exponent = np.where(small, 2 * m, m), (e - small).astype(np.float64)
    s = (m - 1) / (m + 1)
    series = _polynomial([1.0 / (2 * k + 1) for k in reversed(range(_LOG_TERMS))], s * s)
    found: Normals = exponent * _LN2_HIGH + (2 * s * series + exponent * _LN2_LOW)
    return found
