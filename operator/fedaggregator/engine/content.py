"""Judges the bytes of an update, and of an initial model: format, shapes, finite numbers. Blocking; run in a thread.

Reads block by block into one buffer: memory does not depend on the size of the file.
"""

from fedaggregator.errors import RefusedRequest
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore import folding, tensorfile
from fedcore.tensorfile import MalformedTensorFile, TensorFile
from fedstore.errors import Missing
from fedstore.objectstore import ObjectStore, Reader

BLOCK_BYTES = 1 << 20  # fits the processor's cache; a multiple of every item size


def read_header(reader: Reader) -> TensorFile:
    """The tensor table of an open file; MalformedTensorFile when it is none."""
    prefix = bytearray(min(tensorfile.PREFIX_BYTES, reader.size))
    reader.read_into(memoryview(prefix), 0)
    header = bytearray(tensorfile.header_size(bytes(prefix), reader.size))
    reader.read_into(memoryview(header), tensorfile.PREFIX_BYTES)
    return tensorfile.parsed(bytes(header), reader.size)


def read_table(store: ObjectStore, key: str) -> TensorFile:
    """The tensor table of an object."""
    with store.reader(key) as reader:
        return read_header(reader)


def check_update(store: ObjectStore, payload: ObjectRef, base: TensorFile) -> None:
    """RefusedRequest unless the object is there and is an update of that base. Its digest was checked when it came in."""
    size = store.size(payload.key)
    if size is None:
        raise _refused("Missing", f"{payload.sha256} was not uploaded: ask for a grant and send it")
    if size != payload.size:
        raise _refused("WrongSize", f"payload.size {payload.size} is not the size of what was uploaded, {size}")
    try:
        with store.reader(payload.key) as reader:
            table = read_header(reader)
            different = tensorfile.difference(base, table)
            if different:
                raise _refused("WrongShape", f"the update does not fit its base: {different}")
            broken = not_finite(reader, table)
    except MalformedTensorFile as error:
        raise _refused("Malformed", f"the update is not a safetensors file: {error}") from error
    except Missing as error:
        raise _refused("Missing", f"{payload.sha256} is gone: ask next") from error
    if broken:
        raise _refused("NotFinite", f"tensor {broken!r} has NaN or infinite values: the training diverged")


def not_finite(reader: Reader, table: TensorFile) -> str:
    """Name of the first tensor with NaN or infinity; empty when all is finite."""
    buffer = memoryview(bytearray(min(BLOCK_BYTES, max(1, table.size))))
    for tensor in table.tensors:
        for offset in range(tensor.begin, tensor.end, BLOCK_BYTES):
            part = buffer[: min(BLOCK_BYTES, tensor.end - offset)]
            reader.read_into(part, offset)
            if not folding.finite(tensor.dtype, folding.stored(tensor.dtype, part)):
                return tensor.name
    return ""


def _refused(code: str, message: str) -> RefusedRequest:
    return RefusedRequest(Refusal.model_validate({"code": code, "message": message[:900]}))
