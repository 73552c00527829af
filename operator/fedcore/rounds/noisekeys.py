"""To what the noise of a fold belongs: all that decides the sum that it hides, so that no two sums have the same. Pure.

Called by the engine's fold, which derives the key from it, and by budget, which has the commit name it for the rounds that take a
part of the noise back.
"""

import hashlib
import json

from fedapi.wire.privacy import Mechanism
from fedapi.wire.update import UPDATE
from fedcore.rounds.effects import Fold


def drawn_for(job_uid: str, order: Fold, done: Mechanism) -> bytes:
    """32 bytes: job, round, attempt, base, numbers and the updates' digests."""
    said = json.dumps(
        {
            "job": job_uid,
            "round": order.round,
            "attempt": order.attempt,
            "base": order.base.sha256,
            "mechanism": done.model_dump(mode="json"),
            "updates": [[term.client, term.payloads[UPDATE].object.sha256, term.samples > 0] for term in order.terms],
        },
        sort_keys=True,
    )
    return hashlib.sha256(said.encode()).digest()
