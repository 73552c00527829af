"""Model and update files: safetensors in the hub's canonical form, so that equal tensors are equal bytes.

Files are hashed while they are written, in blocks that stay in the CPU's cache; no tensor is copied as a whole.
Called by session.py, progress.py, site_state.py and init. The form is fedcore's (tensors/tensorfile.py).
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from fedcore.tensors.tensorfile import Tensor, canonical_header
from fedtrainer.errors import DivergedError, TaskInvalidError
from fedtrainer.training import overwriting
from fedtrainer.training.overwriting import SMALL_BYTES

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption

Tensors = Mapping[str, Any]  # name -> torch.Tensor
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
_BY_KIND = {kind: dtype for dtype, kind in DTYPES.items()}
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


def read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, backed by its memory map: nothing is read before it is used. A small file may be written over."""
    small = path.stat().st_size <= SMALL_BYTES
    with safe_open(path, "pt") as file:
        mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return {name: tensor.clone() for name, tensor in mapped.items()} if small else mapped


def write(path: Path, tensors: Tensors, *, metadata: str | None = None, sync: bool = False) -> Written:
    """Writes the tensors, by rename; `sync` waits for the disk."""
    return _write(
        path, tensors, lambda name: _blocks(tensors[name].detach().cpu().contiguous().reshape(-1)), metadata, sync
    )


def write_delta(path: Path, local: Tensors, base: Tensors, encryption: "Encryption | None" = None) -> Written:
    """Writes local - base, encrypted where that is asked for; of integers modulo 2^bits, from which the hub recovers the local value.

    DivergedError when a value is not finite: such an update would be refused. What the base has as infinity or NaN stays.
    """
    return _write(path, base, lambda name: _delta(name, local[name], base[name]), None, False, encryption)


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
    return {name: torch.empty(shape, dtype=_BY_KIND[kind]) for name, (kind, shape) in forms.items()}


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """A tensor's bytes, in the order of its elements."""
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _write(
    path: Path,
    like: Tensors,
    blocks: Callable[[str], Iterator[Any]],
    metadata: str | None,
    sync: bool,
    encryption: "Encryption | None" = None,
) -> Written:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    header, table = canonical_header((_entry(name, tensor) for name, tensor in like.items()), metadata)
    plain = chain([memoryview(header)], (_bytes(block) for tensor in table.tensors for block in blocks(tensor.name)))
    digest, size = hashlib.sha256(), 0
    with overwriting.opened(partial) as file:
        for data in encryption.encrypted(plain) if encryption else plain:
            digest.update(data)
            overwriting.put(file, data)
            size += len(data)
        file.truncate()
        if sync:
            os.fsync(file.fileno())
    partial.replace(path)
    if sync:
        _sync_directory(path.parent)
    return Written(digest.hexdigest(), size)


def _bytes(block: torch.Tensor) -> memoryview:
    return memoryview(block.view(torch.uint8).numpy())


def _entry(name: str, tensor: torch.Tensor) -> Tensor:
    return Tensor(name, _dtype(name, tensor), tuple(tensor.shape), 0, tensor.numel() * tensor.element_size())


def _dtype(name: str, tensor: torch.Tensor) -> str:
    if tensor.dtype not in DTYPES:
        raise TaskInvalidError(f"tensor {name!r} of the model is {tensor.dtype}: use {', '.join(map(str, DTYPES))}")
    return DTYPES[tensor.dtype]


def _blocks(flat: torch.Tensor) -> Iterator[torch.Tensor]:
    return iter(flat.split(max(1, BLOCK_BYTES // flat.element_size()))) if flat.numel() else iter(())


def _delta(name: str, local: torch.Tensor, base: torch.Tensor) -> Iterator[torch.Tensor]:
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
    buffer = torch.empty(min(base.numel(), BLOCK_BYTES // base.element_size()), dtype=base.dtype)
    for ours, theirs in zip(_blocks(local), _blocks(base), strict=True):
        block = torch.sub(ours, theirs, out=buffer[: len(ours)])
        # A sum is cheaper than a test of each value; it may overflow, so look closer before judging.
        if block.is_floating_point() and not torch.isfinite(block.sum()) and not torch.isfinite(block).all():
            _keep_constants(name, ours, theirs, block)
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


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
