"""Judges the bytes of an update, and of an initial model: format, shapes, finite numbers. Blocking; run in a thread.

Reads block by block into one buffer: memory does not depend on the size of the file.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedaggregator.engine import decoding, verified
from fedaggregator.engine.decoding import Layout
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.errors import DamagedError, RequestRefusedError, UndecodableError
from fedapi.wire.compression import Compression
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedapi.wire.update import Payload
from fedcore.compression.codec import MalformedEncodingError
from fedcore.homomorphic import addition
from fedcore.homomorphic.errors import MalformedError
from fedcore.tensors import arithmetic, submodels, tensorfile
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


def check_model(store: ObjectStore, model: ObjectRef) -> TensorFile:
    """The tensors of an initial model; RequestRefusedError where an object is none. Its digest was checked when it came in.

    Infinities and NaN are the task's own: constants such as a mask, which a fold leaves as they are. That parameters
    are finite was checked where the model was made, which knows them from buffers.
    """
    with store.reader(model.key) as reader:
        if reader.size != model.size:
            message = f"payload.size {model.size} is not the size of what was uploaded, {reader.size}"
            raise RequestRefusedError(Refusal(code="WrongSize", message=message))
        try:
            table = read_header(reader)
        except MalformedTensorFileError as error:
            text = f"the initial model is not a safetensors file: {error}"[:900]
            raise RequestRefusedError(Refusal(code="Malformed", message=text)) from error
    if wrong := tensorfile.misnamed(table) or _no_sub_models(table):
        raise RequestRefusedError(Refusal(code="Malformed", message=f"the initial model's metadata: {wrong}"[:900]))
    return table


def _no_sub_models(table: TensorFile) -> str:
    """Why what it says makes no sub-models of it; empty when it does, or says nothing of any."""
    try:
        submodels.widths(table)
    except MalformedTensorFileError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Asked:
    """What a payload must be: of these tensors, encoded like that. What a codec is told, the file has to say."""

    base: TensorFile
    compression: Compression | None = None
    width: float | None = None  # of the sub-model that these tensors are of

    @property
    def name(self) -> str:
        """In a refusal."""
        return "its base" if self.width is None else f"its base at the site's modelWidth {self.width}"

    @cached_property
    def layout(self) -> Layout:
        """The plain file."""
        return Layout.of(self.base)


def check_inline(payloads: Payloads, sent: Sent, data: bytes, asked: Asked) -> None:
    """RequestRefusedError unless bytes that came with a manifest are what it says, and an update of that base."""
    if len(data) == sent.ref.size:
        check_digest(sent.ref, data)
    with payloads.held(sent, data) as reader:
        _check(reader, asked)


def check_digest(ref: ObjectRef, data: bytes) -> None:
    """RequestRefusedError unless bytes that came with a manifest are those that it names."""
    if len(data) != ref.size:
        message = f"payload.size {ref.size} is not the size of the content, {len(data)}"
        raise RequestRefusedError(Refusal(code="WrongSize", message=message))
    if (found := hashlib.sha256(data).hexdigest()) != ref.sha256:
        message = f"the content has SHA-256 {found}, not {ref.sha256}"
        raise RequestRefusedError(Refusal(code="WrongDigest", message=message))


def check_ciphertexts(payload: Payload, reader: Reader) -> None:
    """RequestRefusedError where numbers of an encrypted update are none of the scheme: nothing of theirs could be added up."""
    if payload.tag is None:
        return
    buffer = memoryview(bytearray(min(BLOCK_BYTES, max(1, reader.size))))
    try:
        for offset in range(0, reader.size, BLOCK_BYTES):
            part = buffer[: min(BLOCK_BYTES, reader.size - offset)]
            reader.read_into(part, offset)
            addition.check(np.frombuffer(part, "<u8"))
    except MalformedError as error:
        raise RequestRefusedError(Refusal(code="Malformed", message=f"the encrypted update: {error}")) from error


def check_update(store: ObjectStore, payloads: Payloads, sent: Sent, asked: Asked) -> None:
    """RequestRefusedError unless the object is there and is an update of that base. Its digest was checked when it came in."""
    ref = sent.ref
    try:
        try:
            with payloads.arrived(sent) as reader:
                _check(reader, asked)
        except RequestRefusedError:
            there = ref.model_copy(update={"size": store.size(ref.key)})
            verified.check(store, there)  # else the site would be blamed for what happened to it here
            raise
    except (MissingError, DamagedError) as error:
        message = f"{ref.sha256} was not uploaded, or is damaged: ask for a grant and send it"
        raise RequestRefusedError(Refusal(code="Missing", message=message)) from error


def _check(reader: Reader, asked: Asked) -> None:
    """RequestRefusedError with what an update does wrong."""
    if refusal := _fault(reader, asked):
        raise RequestRefusedError(refusal)


def _fault(reader: Reader, asked: Asked) -> Refusal | None:
    """What an update does wrong."""
    try:
        table = read_header(reader)
    except MalformedTensorFileError as error:
        return Refusal(code="Malformed", message=f"the update is not a safetensors file: {error}"[:900])
    if asked.compression is not None:
        return _encoded_fault(reader, table, asked, asked.compression)
    if different := tensorfile.difference(asked.base, table):
        return Refusal(code="WrongShape", message=f"the update does not fit {asked.name}: {different}"[:900])
    return _numbers_fault(reader, table)


def _encoded_fault(reader: Reader, file: TensorFile, asked: Asked, compression: Compression) -> Refusal | None:
    """The same of an encoded one. Its form is judged before any of it is decoded."""
    try:
        decoded = decoding.opened("the update", reader, file, asked.layout, compression.codec, str)
    except MalformedEncodingError as error:
        return Refusal(
            code="WrongShape", message=f"the update is not {asked.name} encoded by {compression.codec}: {error}"[:900]
        )
    if decoded.encoding != compression.encoding:
        message = f"the update says {decoded.encoding}, the round asks for {compression.encoding}: do as the order says"
        return Refusal(code="Malformed", message=message)
    try:
        return _numbers_fault(decoded, decoded.table)
    except UndecodableError as error:
        (what,) = error.found.values()
        return Refusal(code="Malformed", message=f"the update cannot be decoded: {what}"[:900])


def _numbers_fault(reader: Reader, table: TensorFile) -> Refusal | None:
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
