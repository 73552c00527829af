"""What the ranks of a site must have alike: data, model, buffers. Called by session.py and loop.py at every rank.

Ranks compare numbers of 48 bits of a SHA-256, which a double holds exactly. Whoever differs is named.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch

from fedtrainer.errors import DataDiffersError, TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import arrays, tensors
from fedtrainer.training.context import Ranks

LOOKED_AT = 16  # samples of each part of the data


def number_of(chunks: Iterable[Any]) -> float:
    """48 bits over buffers of bytes, or texts."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk.encode() if isinstance(chunk, str) else chunk)
    return float(int.from_bytes(digest.digest()[:6]))


def same_data(ring: Ring, ranks: Ranks, sizes: Mapping[str, int], content: float) -> None:
    """DataDiffers, at every rank, when one sees other samples than rank 0."""
    for name, count in sizes.items():
        found = operations.each_rank(ring, float(count))
        if other := [rank for rank, value in enumerate(found) if value != found[0]]:
            raise DataDiffersError(
                f"data() finds {found[other[0]]:.0f} {name} samples at {ranks.named(other[:1])}, but {found[0]:.0f} at "
                f"{ranks.named([0])}: every worker of a site must see all of the site's data; {_all(ranks, other)}"
            )
    found = operations.each_rank(ring, content)
    if other := [rank for rank, value in enumerate(found) if value != found[0]]:
        raise DataDiffersError(
            f"data() finds other samples at {ranks.named(other[:1])} than at {ranks.named([0])}: every worker of a site "
            f"must see the same data in the same order; {_all(ranks, other)}"
        )


def same_model(ring: Ring, ranks: Ranks, state: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalid, at every rank, when one builds another model than rank 0."""
    forms = number_of(f"{name} {tensor.dtype} {list(tensor.shape)}\n" for name, tensor in sorted(state.items()))
    found = operations.each_rank(ring, forms)
    if other := [rank for rank, value in enumerate(found) if value != found[0]]:
        raise TaskInvalidError(
            f"model() has other names, shapes or types at {ranks.named(other)} than at {ranks.named([0])}: all workers "
            "of a site need the same task image"
        )


def same_result(
    ring: Ring, ranks: Ranks, model: torch.nn.Module, samples: int, gradients: Mapping[str, torch.Tensor]
) -> None:
    """TaskInvalid, at every rank, when a training has left ranks with unlike parameters, gradients or samples."""
    if ranks.size == 1:
        return
    found = operations.each_rank(ring, float(samples))
    if other := [rank for rank, value in enumerate(found) if value != found[0]]:
        raise TaskInvalidError(
            f"train() returned {found[other[0]]:.0f} samples at {ranks.named(other[:1])} and {found[0]:.0f} at "
            f"{ranks.named([0])}: return the samples of the whole site at every rank"
        )
    means = {f"mean gradient of {name}": values for name, values in gradients.items()}
    values = tensors.on_host({**dict(model.named_parameters()), **means})
    found = operations.each_rank(ring, number_of(map(tensors.bytes_of, (values[name] for name in sorted(values)))))
    if other := [rank for rank, value in enumerate(found) if value != found[0]]:
        raise TaskInvalidError(
            f"train() left other parameters at {ranks.named(other)} than at {ranks.named([0])}: with several ranks "
            "train() must use ctx.parallel, or leave training to the default"
        )


def unmoved(model: torch.nn.Module, entries: Mapping[str, str], base: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalid when a training that was to give a gradient alone has moved a parameter."""
    values = tensors.on_host(dict(model.named_parameters()))
    for entry, name in entries.items():
        if name in values and not torch.equal(values[name], base[entry]):
            raise TaskInvalidError(
                f"train() has moved parameter {name!r}, and the job's strategy takes one gradient at the model that was "
                "received: call ctx.correct(optimizer, samples) before each optimizer.step(), or leave training to the default"
            )


def settle(ring: Ring, model: torch.nn.Module) -> None:
    """Makes buffers alike: real ones become means over the ranks, all others rank 0's."""
    if ring.size == 1:
        return
    buffers = {name: tensor.clone() for name, tensor in _buffers(model).items()}
    real = {name: tensor for name, tensor in buffers.items() if tensor.is_floating_point()}
    operations.broadcast_tensors(ring, {name: tensor for name, tensor in buffers.items() if name not in real})
    if real:
        flat = torch.cat([tensor.reshape(-1).double() for tensor in real.values()])
        operations.all_reduce(ring, flat)
        parts = (flat / ring.size).split([tensor.numel() for tensor in real.values()])
        for tensor, mean in zip(real.values(), parts, strict=True):
            tensor.copy_(mean.view(tensor.shape))
    model.load_state_dict(buffers, strict=False)


def buffers_of_ranks(ring: Ring, model: torch.nn.Module) -> torch.Tensor:
    """The bytes of every rank's buffers, a row for each: in training they differ. Empty for one rank or no buffer."""
    values = [tensors.bytes_of(tensor) for tensor in _buffers(model).values()]
    if ring.size == 1 or not any(values):
        return torch.zeros(0, 0, dtype=torch.uint8)
    own = torch.cat([torch.frombuffer(bytearray(value), dtype=torch.uint8) for value in values if value])
    rows = torch.zeros(ring.size, len(own), dtype=torch.uint8)
    rows[ring.rank] = own
    operations.all_reduce(ring, rows)
    return rows


def restore_buffers(ring: Ring, model: torch.nn.Module, rows: torch.Tensor) -> None:
    """Gives a rank its buffers back; in a ring of another size all keep rank 0's."""
    buffers = _buffers(model)
    lengths = [tensor.numel() * tensor.element_size() for tensor in buffers.values()]
    if rows.shape != (ring.size, sum(lengths)):
        return
    own = zip(buffers.items(), rows[ring.rank].split(lengths), strict=True)
    state = {name: part.clone().view(tensor.dtype).view(tensor.shape) for (name, tensor), part in own}
    model.load_state_dict(state, strict=False)


def content_of(parts: Iterable[Any]) -> float:
    """A number for some samples of each part of Data."""
    return number_of(chunk for part in parts for chunk in _content(part))


def _buffers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a model's state holds beside parameters, on the CPU."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return tensors.on_host({name: tensor for name, tensor in model.state_dict().items() if name not in parameters})


def _content(part: Any) -> Iterable[Any]:
    """Bytes of a few samples, evenly spread; of what has no samples by index nothing."""
    with suppress(TaskInvalidError):  # a form of its own, for the task's own train and evaluate
        part = arrays.pair(part, "data()")
    columns = part if isinstance(part, tuple) and all(isinstance(x, torch.Tensor) for x in part) else None
    try:
        count = min(len(column) for column in columns) if columns else len(part)
        positions = sorted({count * n // LOOKED_AT for n in range(LOOKED_AT)}) if count else []
        for position in positions:
            yield from _chunks([column[position] for column in columns] if columns else part[position])
    except (TypeError, KeyError, ValueError):
        return


def _chunks(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.Tensor):
        yield tensors.bytes_of(value)
    elif isinstance(value, dict):
        for key in value:
            yield from (repr(key), *_chunks(value[key]))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _chunks(item)
    elif hasattr(value, "tobytes"):  # numpy arrays and PIL images
        yield value.tobytes()
    elif isinstance(value, str | bytes | int | float | bool | None):
        yield repr(value)


def _all(ranks: Ranks, other: list[int]) -> str:
    return f"{len(other)} of {ranks.size} ranks differ"
