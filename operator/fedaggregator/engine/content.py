"""Judges the bytes of an update, and of an initial model: format, shapes, finite numbers. Blocking; run in a thread.

Reads block by block into one buffer: memory does not depend on the size of the file.
"""

import hashlib

from fedaggregator.engine import verified
from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError, TensorFile
from fedstore.errors import MissingError
from fedstore.memory import MemoryReader
from fedstore.objectstore import ObjectStore, Reader


def header_of(reader: Reader) -> bytes:
    """The JSON header of an open file; MalformedTensorFileError when it has none."""
    prefix = bytearray(min(tensorfile.PREFIX_BYTES, reader.size))
    reader.read_into(memoryview(prefix), 0)
    header = bytearray(tensorfile.header_size(bytes(prefix), reader.size))
    reader.read_into(memoryview(header), tensorfile.PREFIX_BYTES)
    return bytes(header)


def read_header(reader: Reader) -> TensorFile:
    """The tensor table of an open file; MalformedTensorFileError when it is none."""
    return tensorfile.parsed(header_of(reader), reader.size)


def read_table(store: ObjectStore, key: str) -> TensorFile:
    """The tensor table of an object."""
    with store.reader(key) as reader:
        return read_header(reader)


def check_model(store: ObjectStore, model: ObjectRef) -> None:
    """RequestRefusedError unless an object is a model. Its digest was checked when it came in.

    Infinities and NaN are the task's own: constants such as a mask, which a fold leaves as they are. That parameters
    are finite was checked where the model was made, which knows them from buffers.
    """
    with store.reader(model.key) as reader:
        if refusal := _wrong_size(model, reader.size):
            raise RequestRefusedError(refusal)
        try:
            read_header(reader)
        except MalformedTensorFileError as error:
            text = f"the initial model is not a safetensors file: {error}"[:900]
            raise RequestRefusedError(Refusal(code="Malformed", message=text)) from error


def check_inline(payload: ObjectRef, data: bytes, base: TensorFile) -> None:
    """RequestRefusedError unless bytes that came with a manifest are what it says, and an update of that base."""
    refusal = _wrong_size(payload, len(data))
    if refusal is None and (found := hashlib.sha256(data).hexdigest()) != payload.sha256:
        refusal = Refusal(code="WrongDigest", message=f"the content has SHA-256 {found}, not {payload.sha256}")
    refusal = refusal or _fault(MemoryReader(payload.key, data), payload, base)
    if refusal is not None:
        raise RequestRefusedError(refusal)


def check_update(store: ObjectStore, payload: ObjectRef, base: TensorFile) -> None:
    """RequestRefusedError unless the object is there and is an update of that base. Its digest was checked when it came in."""
    try:
        with store.reader(payload.key) as reader:
            refusal = _fault(reader, payload, base)
        if refusal is not None:
            there = payload.model_copy(update={"size": store.size(payload.key)})
            verified.check(store, there)  # else the site would be blamed for what happened to it here
            raise RequestRefusedError(refusal)
    except (MissingError, DamagedError) as error:
        message = f"{payload.sha256} was not uploaded, or is damaged: ask for a grant and send it"
        raise RequestRefusedError(Refusal(code="Missing", message=message)) from error


def _fault(reader: Reader, payload: ObjectRef, base: TensorFile) -> Refusal | None:
    """What an update does wrong."""
    if refusal := _wrong_size(payload, reader.size):
        return refusal
    try:
        table = read_header(reader)
    except MalformedTensorFileError as error:
        return Refusal(code="Malformed", message=f"the update is not a safetensors file: {error}"[:900])
    if different := tensorfile.difference(base, table):
        return Refusal(code="WrongShape", message=f"the update does not fit its base: {different}"[:900])
    if broken := not_finite(reader, table):
        text = f"tensor {broken!r} has NaN or infinite values: the training diverged"
        return Refusal(code="NotFinite", message=text[:900])
    return None


def _wrong_size(payload: ObjectRef, size: int) -> Refusal | None:
    if size == payload.size:
        return None
    return Refusal(
        code="WrongSize", message=f"payload.size {payload.size} is not the size of what was uploaded, {size}"
    )


def not_finite(reader: Reader, table: TensorFile) -> str:
    """Name of the first tensor with NaN or infinity; empty when all is finite."""
    buffer = memoryview(bytearray(min(BLOCK_BYTES, max(1, table.size))))
    for tensor in table.tensors:
        for offset in range(tensor.begin, tensor.end, BLOCK_BYTES):
            part = buffer[: min(BLOCK_BYTES, tensor.end - offset)]
            reader.read_into(part, offset)
            if not arithmetic.finite(tensor.dtype, arithmetic.stored(tensor.dtype, part)):
                return tensor.name
    return ""
