"""A model of any store as a file of this machine, checked against its digest. Called by the command line and the embedded runner."""

import hashlib
from pathlib import Path

from fedstore.errors import ContentMismatchError
from fedstore.objectstore import ObjectStore

PIECE_BYTES = 4 << 20


def fetch(store: ObjectStore, key: str, sha256: str, target: Path) -> None:
    """Piece by piece, so that memory does not grow with the model. ContentMismatchError leaves the target as it was.

    Fails as the store does (StoreError), and with OSError where the target cannot be written.
    """
    temporary, digest = target.with_name(f".{target.name}.partial"), hashlib.sha256()
    buffer = memoryview(bytearray(PIECE_BYTES))
    try:
        with store.reader(key) as reader, temporary.open("wb") as file:
            for at in range(0, reader.size, PIECE_BYTES):
                piece = buffer[: min(PIECE_BYTES, reader.size - at)]
                reader.read_into(piece, at)
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != sha256:
            said = f"{key}: SHA-256 is {digest.hexdigest()}, but {sha256} was committed"
            raise ContentMismatchError("WrongDigest", f"{said}: it is damaged")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
