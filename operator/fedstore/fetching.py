"""A model of any store as a file of this machine, checked against its digest. Called by the command line and the embedded runner."""

import hashlib
from pathlib import Path

from fedapi.wire.message import ObjectRef
from fedstore.blocks import blocks
from fedstore.errors import ContentMismatchError
from fedstore.objectstore import ObjectStore


def fetch(store: ObjectStore, model: ObjectRef, target: Path) -> None:
    """Block by block, so that memory does not grow with the model. ContentMismatchError leaves the target as it was.

    Fails as the store does (StoreError), and with OSError where the target cannot be written.
    """
    key, sha256 = model.key, model.sha256
    temporary, digest = target.with_name(f".{target.name}.partial"), hashlib.sha256()
    try:
        with store.reader(key) as reader, temporary.open("wb") as file:
            for block in blocks(reader):
                file.write(block)
                digest.update(block)
        if digest.hexdigest() != sha256:
            said = f"{key}: SHA-256 is {digest.hexdigest()}, but {sha256} was committed"
            raise ContentMismatchError("WrongDigest", f"{said}: it is damaged")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
