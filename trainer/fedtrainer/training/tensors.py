"""Model and update files: safetensors in the hub's canonical form, so that equal tensors are equal bytes.

Files are hashed while they are written, in blocks that stay in the CPU's cache; no tensor is copied as a whole.
Called by session.py, progress.py, site_state.py and init. The form is fedcore's (tensors/tensorfile.py).
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from fedapi.jsonvalue import Json
from fedcore.compression.codec import PASS_ITEMS
from fedcore.tensors.tensorfile import METADATA, Tensor, TensorFile, canonical_header
from fedtrainer.errors import DivergedError, TaskInvalidError
from fedtrainer.training import durable, overwriting
from fedtrainer.training.overwriting import SMALL_BYTES

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption
    from fedtrainer.training.encoding import Encoder

Tensors = Mapping[str, Any]  # name -> torch.Tensor
Blocks = Callable[..., Iterator[torch.Tensor]]  # of a tensor by its name; `items` of each, or what the cache holds
Protect = Callable[[Blocks, list[str]], Blocks]
Form = tuple[str, list[int]]  # type, as files name it, and shape

BLOCK_BYTES = 1 << 20
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
BY_KIND = {kind: dtype for dtype, kind in DTYPES.items()}
_SIGNED = {
    torch.uint64: torch.int64,
    torch.uint32: torch.int32,
    torch.uint16: torch.int16,
}  # torch cannot subtract these


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    sha256: str
    size: int
    encoded: int = 0  # bytes of what was encoded, before it was encrypted; 0 where nothing was


def read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, backed by its memory map: nothing is read before it is used. A small file may be written over."""
    small = path.stat().st_size <= SMALL_BYTES
    with safe_open(path, "pt") as file:
        mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return {name: tensor.clone() for name, tensor in mapped.items()} if small else mapped


def said(path: Path) -> Json:
    """What the metadata of a file of this site's says."""
    with safe_open(path, "pt") as file:
        return dict(json.loads((file.metadata() or {}).get(METADATA, "{}")))


def write(path: Path, tensors: Tensors, *, metadata: str | None = None, sync: bool = False) -> Written:
    """Writes the tensors, by rename; `sync` waits for the disk."""
    header, table = _header(tensors, metadata)
    blocks = (
        _bytes(block)
        for tensor in table.tensors
        for block in _blocks(tensors[tensor.name].detach().cpu().contiguous().reshape(-1))
    )
    return _write(path, chain([memoryview(header)], blocks), sync)


def write_delta(
    path: Path,
    local: Tensors,
    base: Tensors,
    encryption: "Encryption | None" = None,
    instead: Tensors = MappingProxyType({}),
    encoder: "Encoder | None" = None,
    protect: Protect | None = None,
) -> Written:
    """Writes local - base, encoded and encrypted where that is asked for; of integers modulo 2^bits, from which the hub recovers the local value.

    `protect`: makes of it what may be told, before all else.

    `instead`: what is written of some tensors in the place of the difference. DivergedError when a value is not finite, or none that
    the codec holds: such an update would be refused. What the base has as infinity or NaN stays.
    """

    def exact(name: str, items: int = 0) -> Iterator[torch.Tensor]:
        if name in instead:
            return _finite(name, instead[name].to(base[name].dtype), items)
        return _delta(name, local[name], base[name], items)

    header, table = _header(base)
    names = [tensor.name for tensor in table.tensors]
    blocks = protect(exact, names) if protect is not None else exact
    if encoder is not None:
        header, table = encoder.header(table.tensors)
    sent = (data for name in names for data in _sent(name, partial(blocks, name), encoder))
    written = _written(path, header, sent, encryption)
    return written if encoder is None else replace(written, encoded=table.size)


def write_beside(path: Path, values: Tensors, encryption: "Encryption | None" = None) -> Written:
    """Writes what goes beside an update; DivergedError as above."""
    header, table = _header(values)
    blocks = (_bytes(block) for tensor in table.tensors for block in _finite(tensor.name, values[tensor.name]))
    return _written(path, header, blocks, encryption)


def plain_size(base: Tensors) -> int:
    """Bytes of a file of these tensors as they are."""
    return table(base).size


def table(like: Tensors) -> TensorFile:
    """Of a file of these tensors as they are."""
    return _header(like)[1]


def check_finite(values: Tensors, base: Tensors) -> None:
    """DivergedError as above, for what is kept here and not sent."""
    for name, value in values.items():
        if value.is_floating_point():
            for _ in _delta(name, value, base[name]):
                pass


def on_host(values: Tensors) -> dict[str, torch.Tensor]:
    """The tensors on the CPU; from a TPU in one transfer per type, because each would wait for the device."""
    found = {name: tensor.detach() for name, tensor in values.items()}
    groups: dict[torch.dtype, list[str]] = {}
    for name, tensor in found.items():
        if tensor.device.type == "xla":
            groups.setdefault(tensor.dtype, []).append(name)
        else:
            found[name] = tensor.cpu()
    for names in groups.values():
        flat = torch.cat([found[name].reshape(-1) for name in names]).cpu()
        for name, part in zip(names, flat.split([found[name].numel() for name in names]), strict=True):
            found[name] = part.view(found[name].shape)
    return found


def form(tensor: torch.Tensor) -> Form:
    """What a rank must know of a tensor to receive it."""
    return DTYPES[tensor.dtype], list(tensor.shape)


def empty(forms: Mapping[str, Form]) -> dict[str, torch.Tensor]:
    """Room for tensors of these forms, by their names."""
    return {name: torch.empty(shape, dtype=BY_KIND[kind]) for name, (kind, shape) in forms.items()}


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """A tensor's bytes, in the order of its elements."""
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _header(like: Tensors, metadata: str | None = None) -> tuple[bytes, TensorFile]:
    return canonical_header((_entry(name, tensor) for name, tensor in like.items()), metadata)


def _sent(name: str, blocks: Blocks, encoder: "Encoder | None") -> Iterator[memoryview]:
    """What is sent of a tensor."""
    if encoder is not None and encoder.encodes(name):
        return encoder.blocks(name, lambda: blocks(PASS_ITEMS))
    return map(_bytes, blocks())


def _written(path: Path, header: bytes, content: Iterable[memoryview], encryption: "Encryption | None") -> Written:
    plain = chain([memoryview(header)], content)
    return _write(path, encryption.encrypted(plain) if encryption else plain)


def _write(path: Path, content: Iterable[bytes | memoryview], sync: bool = False) -> Written:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.partial")
    digest, size = hashlib.sha256(), 0
    with overwriting.opened(new) as file:
        for data in content:
            digest.update(data)
            overwriting.put(file, data)
            size += len(data)
        file.truncate()
        if sync:
            os.fsync(file.fileno())
    new.replace(path)
    if sync:
        durable.sync(path.parent)
    return Written(digest.hexdigest(), size)


def _bytes(block: torch.Tensor) -> memoryview:
    return memoryview(block.view(torch.uint8).numpy())


def _entry(name: str, tensor: torch.Tensor) -> Tensor:
    return Tensor(name, _dtype(name, tensor), tuple(tensor.shape), 0, tensor.numel() * tensor.element_size())


def _dtype(name: str, tensor: torch.Tensor) -> str:
    if tensor.dtype not in DTYPES:
        raise TaskInvalidError(f"tensor {name!r} of the model is {tensor.dtype}: use {', '.join(map(str, DTYPES))}")
    return DTYPES[tensor.dtype]


def _blocks(flat: torch.Tensor, items: int = 0) -> Iterator[torch.Tensor]:
    return iter(flat.split(items or max(1, BLOCK_BYTES // flat.element_size()))) if flat.numel() else iter(())


def _delta(name: str, local: torch.Tensor, base: torch.Tensor, items: int = 0) -> Iterator[torch.Tensor]:
    """The change of a tensor, in blocks of so many items, or of BLOCK_BYTES; each is valid until the next."""
    local, base = local.detach().cpu().reshape(-1), base.reshape(-1)
    if base.dtype == torch.bool:
        if not torch.equal(local, base):
            raise TaskInvalidError(
                f"tensor {name!r} is bool and changed in training: there is no mean of bools; use uint8"
            )
        yield from _blocks(torch.zeros_like(base))
        return
    if base.dtype in _SIGNED:
        local, base = local.contiguous().view(_SIGNED[base.dtype]), base.view(_SIGNED[base.dtype])
    buffer = torch.empty(min(base.numel(), items or BLOCK_BYTES // base.element_size()), dtype=base.dtype)
    for ours, theirs in zip(_blocks(local, items), _blocks(base, items), strict=True):
        block = torch.sub(ours, theirs, out=buffer[: len(ours)])
        # A sum is cheaper than a test of each value; it may overflow, so look closer before judging.
        if block.is_floating_point() and not torch.isfinite(block.sum()) and not torch.isfinite(block).all():
            _keep_constants(name, ours, theirs, block)
        yield block


def _finite(name: str, values: torch.Tensor, items: int = 0) -> Iterator[torch.Tensor]:
    for block in _blocks(values.detach().cpu().contiguous().reshape(-1), items):
        if not torch.isfinite(block).all():
            raise DivergedError(f"what tensor {name!r} gets is not finite: lower training.optimizer.learningRate")
        yield block


def _keep_constants(name: str, ours: torch.Tensor, theirs: torch.Tensor, block: torch.Tensor) -> None:
    """Zeroes the difference where the base is not finite and has stayed what it was, as in a mask of -inf."""
    constant = ~torch.isfinite(theirs)
    if not ((ours == theirs) | (ours.isnan() & theirs.isnan()))[constant].all():
        raise TaskInvalidError(
            f"tensor {name!r} has infinities or NaN that training changed: they have no mean; keep them constant, or "
            "register the buffer with persistent=False"
        )
    block[constant] = 0
    if not torch.isfinite(block).all():
        raise DivergedError(f"tensor {name!r} is not finite after training: lower training.optimizer.learningRate")
