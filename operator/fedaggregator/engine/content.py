"""Judges the bytes of an update, and of an initial model: format, shapes, finite numbers. Blocking; run in a thread.

Reads block by block into one buffer: memory does not depend on the size of the file.
"""

import hashlib

from fedaggregator.engine import verified
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError, TensorFile
from fedstore.errors import MissingError
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
        if reader.size != model.size:
            message = f"payload.size {model.size} is not the size of what was uploaded, {reader.size}"
            raise RequestRefusedError(Refusal(code="WrongSize", message=message))
        try:
            read_header(reader)
        except MalformedTensorFileError as error:
            text = f"the initial model is not a safetensors file: {error}"[:900]
            raise RequestRefusedError(Refusal(code="Malformed", message=text)) from error


def check_inline(payloads: Payloads, sent: Sent, data: bytes, base: TensorFile) -> None:
    """RequestRefusedError unless bytes that came with a manifest are what it says, and an update of that base."""
    if len(data) == sent.ref.size and (found := hashlib.sha256(data).hexdigest()) != sent.ref.sha256:
        message = f"the content has SHA-256 {found}, not {sent.ref.sha256}"
        raise RequestRefusedError(Refusal(code="WrongDigest", message=message))
    with payloads.held(sent, data) as reader:
        _check(reader, base)


def check_update(store: ObjectStore, payloads: Payloads, sent: Sent, base: TensorFile) -> None:
    """RequestRefusedError unless the object is there and is an update of that base. Its digest was checked when it came in."""
    ref = sent.ref
    try:
        try:
            with payloads.arrived(sent) as reader:
                _check(reader, base)
        except RequestRefusedError:
            there = ref.model_copy(update={"size": store.size(ref.key)})
            verified.check(store, there)  # else the site would be blamed for what happened to it here
            raise
    except (MissingError, DamagedError) as error:
        message = f"{ref.sha256} was not uploaded, or is damaged: ask for a grant and send it"
        raise RequestRefusedError(Refusal(code="Missing", message=message)) from error


def _check(reader: Reader, base: TensorFile) -> None:
    """RequestRefusedError with what an update does wrong."""
    if refusal := _fault(reader, base):
        raise RequestRefusedError(refusal)


def _fault(reader: Reader, base: TensorFile) -> Refusal | None:
    """What an update does wrong."""
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
