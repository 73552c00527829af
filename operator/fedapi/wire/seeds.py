"""Seeds derived from spec.seed, the same at every process: uid and clock never enter. Pure.

Used by fedcore (selection) and fedtrainer (initial model, batch order).
"""

import hashlib


def derived(seed: int, *parts: str | int) -> int:
    """63 bits of SHA-256 over the job's seed and what it is for, such as ("batches", "site-a", 3)."""
    text = "\0".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
