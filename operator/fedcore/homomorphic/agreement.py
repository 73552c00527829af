"""What all parties of an encrypted sum work out alike. Pure, and without the library."""

import hashlib

from fedapi.wire.secagg import Participants
from fedcore.secagg.keys import Attempt, bound


def maker(attempt: Attempt, participants: Participants) -> str:
    """The participant that makes the key: by lot, so that no site makes all, and a lost one is not asked first again."""
    names = (each.site for each in participants.advertisements)
    return min(names, key=lambda name: hashlib.sha256(bound("key maker", _bond(attempt), name.encode())).digest())


def _bond(attempt: Attempt) -> bytes:
    return attempt.context + attempt.participants
