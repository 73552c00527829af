"""The safetensors container, read strictly and written canonically: header bytes <-> tensor table. Pure.

Hub and sites write by it. The hub reads hostile files with it: every number is bounded before it is used, nothing is evaluated or unpickled.
Format: 8 bytes little-endian header size, JSON header, tensor bytes (https://github.com/huggingface/safetensors).
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fedapi.jsonvalue import Json

PREFIX_BYTES = 8
MAX_HEADER_BYTES = 8 << 20
MAX_RANK = 16
METADATA = "fedloom"  # key of what Fedloom says in a header's metadata: a JSON object, as a string
KINDS = ("buffers", "frozen", "local")  # of tensors that it names in an initial model's
ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1,
    "BOOL": 1,
}  # fmt: skip


class MalformedTensorFileError(ValueError):
    """The bytes are not a safetensors file that Fedloom reads; the message names what and where."""


@dataclass(frozen=True)
class Tensor:
    """One tensor and where its bytes are in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int  # offset from the start of the file
    end: int

    @property
    def kind(self) -> tuple[str, str, tuple[int, ...]]:
        """What must be equal for an update to fit its base."""
        return self.name, self.dtype, self.shape


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file, in the order of their bytes."""

    size: int
    tensors: tuple[Tensor, ...]
    # As who made an initial model says in its metadata:
    buffers: frozenset[str] = frozenset()  # no parameters
    frozen: frozenset[str] = frozenset()  # trained by nobody: every site has them from the initial model
    local: frozenset[str] = frozenset()  # of each site its own, and those of the initial model before it has any
    said: Json = field(default_factory=dict, compare=False)  # all that Fedloom says there

    @property
    def exchanged(self) -> "TensorFile":
        """The same file, of which the tensors that travel are looked at alone: what updates, folds and later models hold."""
        stay = self.frozen | self.local
        return replace(self, tensors=tuple(t for t in self.tensors if t.name not in stay)) if stay else self

    def by_name(self) -> dict[str, Tensor]:
        """Tensors by their name."""
        return {tensor.name: tensor for tensor in self.tensors}


def header_size(prefix: bytes, file_size: int) -> int:
    """Bytes of the JSON header, from the first 8 bytes of a file."""
    if len(prefix) != PREFIX_BYTES:
        raise MalformedTensorFileError(f"the file has {len(prefix)} bytes: a tensor file has at least {PREFIX_BYTES}")
    (size,) = struct.unpack("<Q", prefix)
    if size > MAX_HEADER_BYTES:
        raise MalformedTensorFileError(f"the header claims {size} bytes, {MAX_HEADER_BYTES} are allowed")
    if PREFIX_BYTES + size > file_size:
        raise MalformedTensorFileError(f"the header claims {size} bytes, the file has {file_size}")
    return int(size)


def parsed(header: bytes, file_size: int) -> TensorFile:
    """The tensor table of a JSON header. Tensors must cover the rest of the file without holes or overlaps."""
    table = _json_object(header)
    start = PREFIX_BYTES + len(header)
    tensors = [_tensor(name, entry, start) for name, entry in table.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = start
    for tensor in tensors:
        if tensor.begin != position:
            raise MalformedTensorFileError(f"tensor {tensor.name!r} begins at {tensor.begin}, expected {position}")
        position = tensor.end
    if position != file_size:
        raise MalformedTensorFileError(f"tensors end at byte {position}, the file at {file_size}")
    said = _said(table.get("__metadata__"))
    buffers, frozen, local = (_named(said, kind) for kind in KINDS)
    return TensorFile(file_size, tuple(tensors), buffers, frozen, local, said)


def canonical_header(tensors: Iterable[Tensor], metadata: str | None = None) -> tuple[bytes, TensorFile]:
    """Prefix and header of a new file with these tensors: wide types first (alignment), then by name.

    Hub and sites write all their files by it, so that equal tensors are equal bytes. `metadata`: of a site's own files.
    """
    return header(sorted(tensors, key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name)), metadata)


def header(tensors: Iterable[Tensor], metadata: str | None = None) -> tuple[bytes, TensorFile]:
    """Prefix and header of a new file with these tensors in this order; where they lie now does not matter."""
    table: Json = {} if metadata is None else {"__metadata__": {METADATA: metadata}}
    position = 0
    for tensor in tensors:
        size = tensor.end - tensor.begin
        table[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + size],
        }
        position += size
    body = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    body += b" " * (-len(body) % PREFIX_BYTES)
    return struct.pack("<Q", len(body)) + body, parsed(body, PREFIX_BYTES + len(body) + position)


def misnamed(table: TensorFile) -> str:
    """What is wrong with the tensors that a model says do not travel; empty when nothing is."""
    both, unknown = table.frozen & table.local, (table.frozen | table.local) - table.by_name().keys()
    if both:
        return f"tensor {min(both)[:64]!r} is frozen and local: it is one of them"
    if unknown:
        return f"tensor {min(unknown)[:64]!r} is said to stay where it is, and is not there"
    if table.tensors and not table.exchanged.tensors:
        return "no tensor is left that travels: sites would have nothing to send"
    return ""


def difference(base: TensorFile, update: TensorFile) -> str:
    """What of names, dtypes and shapes differs; empty when nothing does."""
    ours, theirs = base.by_name(), update.by_name()
    missing, extra = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing or extra:
        return f"tensors missing: {missing[:5]}, tensors not in the base: {extra[:5]}"
    for name, tensor in ours.items():
        if tensor.kind != theirs[name].kind:
            got = theirs[name]
            return f"tensor {name!r} is {got.dtype}{list(got.shape)}, the base has {tensor.dtype}{list(tensor.shape)}"
    return ""


def _json_object(header: bytes) -> Json:
    try:
        table = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedTensorFileError(f"the header is not JSON: {str(error)[:200]}") from error
    if not isinstance(table, dict):
        raise MalformedTensorFileError("the header is not a JSON object")
    return table


def _said(metadata: Any) -> Json:
    if not isinstance(metadata, dict) or METADATA not in metadata:
        return {}
    said = metadata[METADATA]
    return _json_object(said.encode("utf-8", "surrogatepass")) if isinstance(said, str) else {KINDS[0]: None}


def _named(said: Json, kind: str) -> frozenset[str]:
    names = said.get(kind, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedTensorFileError(f"metadata {METADATA!r} is no JSON object with a list of names as {kind}")
    return frozenset(names)


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise MalformedTensorFileError("the header names a tensor twice")
    return table


def _tensor(name: str, entry: Any, start: int) -> Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedTensorFileError(f"tensor {name[:64]!r} needs exactly dtype, shape and data_offsets")
    if not _is_text(name):
        raise MalformedTensorFileError(
            f"tensor {name[:64]!r} has a name that is no Unicode text, and cannot be written"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise MalformedTensorFileError(
            f"tensor {name[:64]!r} has dtype {str(dtype)[:16]!r}, known are {', '.join(ITEM_BYTES)}"
        )
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise MalformedTensorFileError(f"tensor {name[:64]!r} has no proper shape")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise MalformedTensorFileError(f"tensor {name[:64]!r} has no proper data_offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        raise MalformedTensorFileError(
            f"tensor {name[:64]!r} has {offsets[1] - offsets[0]} bytes, its shape needs others"
        )
    return Tensor(name, dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _is_text(name: str) -> bool:
    """Whether it can be written as UTF-8: JSON can name half a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _naturals(values: Any) -> bool:
    """Whether this is a list of integers from 0 to 2**63 (booleans are not integers here)."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in values)
