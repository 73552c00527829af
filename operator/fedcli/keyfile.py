"""Files of private keys that commands make: never over another key, and readable by their owner alone from the first byte on."""

import os
from pathlib import Path


def write(file: Path, pem: bytes) -> None:
    """Durable when it returns. FileExistsError when the file is there; OSError when it cannot be made."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(pem)
        out.flush()
        os.fsync(out.fileno())
