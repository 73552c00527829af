"""The model of an order, made of the one before and an encoded delta, where this site has the one before. Called by models.py.

It is what the hub has made of the same two files, to the last bit: the digest that the order says of the model is looked at
as with any download. Whatever is wrong (the earlier file is lost, or is another after a power cut) ends in a fetch of the whole.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from fedapi.wire.download import Download
from fedapi.wire.orders import Delta
from fedcore.compression import deltas
from fedcore.compression.codec import MalformedEncodingError
from fedcore.tensors import tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import MalformedTensorFileError, Tensor
from fedtrainer.agent.changed_model import read_table
from fedtrainer.errors import GoneError, RejectedError

log = logging.getLogger(__name__)


def fetched(
    what: Download, delta: Delta, path: Path, before: Path | None, fetch: Callable[[Download, Path], object]
) -> bool:
    """Whether the model is at `path`, made of the file `before`; `fetch` leaves a verified file."""
    if before is None or not before.exists():
        log.info("the model before is not here: fetches all of the next one, %d bytes", what.size)
        return False
    partly, came = path.with_suffix(".partial"), path.with_suffix(".delta.partial")
    try:
        fetch(delta.file, came)
        if _made(before, came, partly, delta) != what.sha256:
            log.warning("the model before is not as it was: fetches all of the next one, %d bytes", what.size)
            return False
        partly.replace(path)
    except (OSError, RejectedError, GoneError, MalformedTensorFileError, MalformedEncodingError) as error:
        log.warning("no model can be made of the one before (%s): fetches all of it, %d bytes", error, what.size)
        return False
    finally:
        for file in (partly, came):
            file.unlink(missing_ok=True)
    smaller = what.size / delta.file.size
    log.info(
        "%s: the model is %d bytes instead of %d, %.2f times smaller",
        delta.encoding.codec,
        delta.file.size,
        what.size,
        smaller,
    )
    return True


def _made(before: Path, came: Path, path: Path, delta: Delta) -> str:
    """SHA-256 of the file that both make."""
    with before.open("rb") as held, came.open("rb") as change, path.open("wb") as new:
        table, codec = read_table(held), delta.encoding.codec
        header, _ = tensorfile.canonical_header(table.tensors)
        digest = hashlib.sha256()
        for part in _parts(header, deltas.added(_reading(held), table, _reading(change), read_table(change), codec)):
            new.write(part)
            digest.update(part)
        return digest.hexdigest()


def _parts(header: bytes, tensors: Iterable[tuple[Tensor, Iterator[Array]]]) -> Iterator[bytes | memoryview]:
    yield header
    yield from (block.data for _, blocks in tensors for block in blocks)


def _reading(file: BufferedReader) -> deltas.ReadInto:
    def read_into(buffer: memoryview, offset: int) -> None:
        file.seek(offset)
        if file.readinto(buffer) != buffer.nbytes:
            raise MalformedTensorFileError(f"the file ends before byte {offset + buffer.nbytes}")

    return read_into
