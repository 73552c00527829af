"""Messages of an attempt whose updates are encrypted with a key of the sites, and added so: what differs from masks. Pure, without a key.

Its steps are those of wire.secagg. Advertise and Consent are the same to the byte. In Share one site, the maker, says the key, sealed to
each participant; in Mask sites hand in ciphertexts; in Open they are given the encrypted sum, and say what it is.
"""

from typing import Annotated

from pydantic import Field

from fedapi.wire.message import Inline, Message, Sha256
from fedapi.wire.secagg import MAX_SITES, Consent, SiteName

SEALED_KEY_BYTES = 32 + 16  # a key of AES-256, and a tag
MAX_KEY_BYTES = 128 << 10  # of the scheme's key, encrypted
TAG_BYTES = 16  # two numbers modulo the prime of the ciphertexts

SealedBytes = Annotated[Inline, Field(min_length=SEALED_KEY_BYTES, max_length=SEALED_KEY_BYTES)]
KeyBytes = Annotated[Inline, Field(min_length=1, max_length=MAX_KEY_BYTES)]
TagBytes = Annotated[Inline, Field(min_length=TAG_BYTES, max_length=TAG_BYTES)]
Tag = Annotated[  # of a payload
    TagBytes | None,
    Field(
        exclude_if=lambda value: value is None,
        description="Of encrypted values: by what sites see later that the sum has them, and each once.",
    ),
]


class SealedKey(Message):
    """The maker's word in Share: the scheme's key, encrypted by another one, and that sealed to each other participant."""

    site: SiteName
    participants_sha256: Sha256
    sealed: dict[SiteName, SealedBytes] = Field(max_length=MAX_SITES)
    key: KeyBytes


class KeyDelivery(Message):
    """To one site: the key, and what was sealed to this site; to the maker nothing was."""

    maker: SiteName
    sealed: SealedBytes | None = None
    key: KeyBytes


class SumRequest(Message):
    """Asks for the numbers of the encrypted sum that comes with it, and shows that the sites agree on what is in it."""

    consents: tuple[Consent, ...] = Field(max_length=MAX_SITES)
    tag: TagBytes = Field(description="The sum of the tags of what was added.")


class OpenedSum(Message):
    """The numbers of the sum, which the site has uploaded: integers of 32 bits, little-endian."""

    site: SiteName
    sha256: Sha256
