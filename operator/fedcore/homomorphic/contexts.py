"""The key that the sites of an attempt share. Called by vectors.py and site.py.

TenSEAL's objects stay in here and in vectors.py: they have no types.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tenseal as ts

from fedcore.homomorphic.envelope import Envelope
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import DEGREE, MODULUS_BITS, SCALE

MOST_KEY_BYTES = 96 << 10  # of 61 KiB
_FOREIGN = (ValueError, RuntimeError, MemoryError, TypeError, OverflowError)  # what SEAL makes of foreign bytes


class SiteKey:
    """The secret key of all sites of an attempt. Who has it can read the update of each: the hub must never see it."""

    def __init__(self, saved: bytes | None = None) -> None:
        """A new key, from SEAL's own generator, or what another site has saved; MalformedError for what is none of these parameters.

        Saved bytes come from a site that has proved who it is, and that could read everything as well.
        """
        self.library = _with_new_key()
        self.envelope = Envelope.of(encrypted(self.library, [0.0]))
        if saved is not None:
            self.library = self._loaded(saved)

    def __repr__(self) -> str:
        return "SiteKey(…)"

    def saved(self) -> bytes:
        """For another site, to be sealed to it. Secret."""
        others = {"save_public_key": False, "save_galois_keys": False, "save_relin_keys": False}
        return bytes(self.library.serialize(save_secret_key=True, **others))

    def _loaded(self, saved: bytes) -> Any:
        if len(saved) > MOST_KEY_BYTES:
            raise MalformedError(f"a key has at most {MOST_KEY_BYTES} bytes, not {len(saved)}")
        with foreign("the bytes are no key"):
            library = ts.context_from(saved, n_threads=1)
            alike = library.has_secret_key() and Envelope.of(encrypted(library, [0.0])) == self.envelope
        if not alike:
            raise MalformedError("the bytes are no key of the parameters of this version")
        return library


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Around what the library does with bytes of somebody else: MalformedError for whatever it raises."""
    try:
        yield
    except _FOREIGN as error:
        raise MalformedError(f"{what}: {error}") from error


def encrypted(library: Any, numbers: list[float]) -> bytes:
    """One ciphertext, as the library writes it."""
    return bytes(ts.ckks_vector(library, numbers).serialize())


def _with_new_key() -> Any:
    symmetric = ts.ENCRYPTION_TYPE.SYMMETRIC
    bits = list(MODULUS_BITS)
    made = ts.context(  # by itself each has as many threads as the machine has cores, and vectors go ciphertext by ciphertext
        ts.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=bits, encryption_type=symmetric, n_threads=1
    )
    made.global_scale = SCALE
    made.auto_relin = made.auto_rescale = made.auto_mod_switch = False
    return made
