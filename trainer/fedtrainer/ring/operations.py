"""What training says to its ring beside gradients: numbers, texts and named tensors. Every rank calls them alike.

Built on port.Ring alone; everything here goes over CPU tensors, whatever the model's device is.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from fedtrainer.ring.port import Ring

_PACK = 64 << 20  # bytes that are broadcast at once: a model of many small tensors takes few operations


def all_reduce(ring: Ring, tensor: torch.Tensor) -> None:
    """The sum over all ranks, in place."""
    ring.all_reduce_async(tensor).wait()


def barrier(ring: Ring) -> None:
    """Returns when all ranks have come here."""
    all_reduce(ring, torch.zeros(1, dtype=torch.int32))


def sums(ring: Ring, values: Sequence[float]) -> list[float]:
    """Each value summed over all ranks, in double precision."""
    total = torch.tensor(values, dtype=torch.float64)
    all_reduce(ring, total)
    return [float(value) for value in total]


def each_rank(ring: Ring, value: float) -> list[float]:
    """Every rank's value, by rank. NaN and infinity arrive as they are."""
    values = [0.0] * ring.size
    values[ring.rank] = value
    return sums(ring, values)


def broadcast_text(ring: Ring, text: str) -> str:
    """Rank 0's text."""
    body = text.encode()
    length = torch.tensor([len(body)], dtype=torch.int64)
    ring.broadcast(length)
    sent = torch.zeros(int(length), dtype=torch.uint8)
    if ring.rank == 0:
        sent = torch.frombuffer(bytearray(body), dtype=torch.uint8) if body else sent
    ring.broadcast(sent)
    return bytes(sent.tolist()).decode()


def each_text(ring: Ring, text: str) -> list[str]:
    """Every rank's text, by rank."""
    body = text.encode()
    lengths = [int(length) for length in each_rank(ring, float(len(body)))]
    rows = torch.zeros(ring.size, max(lengths), dtype=torch.uint8)
    rows[ring.rank, : len(body)] = torch.tensor(list(body), dtype=torch.uint8)
    all_reduce(ring, rows)
    return [bytes(row[:length].tolist()).decode() for row, length in zip(rows, lengths, strict=True)]


def broadcast_tensors(ring: Ring, tensors: Mapping[str, torch.Tensor]) -> None:
    """Rank 0's values, in place. Names, shapes and types are alike at all ranks."""
    if ring.size == 1:
        return
    with torch.no_grad():
        for pack in _packs([tensors[name] for name in sorted(tensors)]):
            body = torch.cat([_bytes(tensor) for tensor in pack])
            ring.broadcast(body)
            if ring.rank:
                for tensor, part in zip(pack, body.split([t.numel() * t.element_size() for t in pack]), strict=True):
                    tensor.copy_(part.clone().view(tensor.dtype).view(tensor.shape))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)


def _packs(tensors: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """In order, as many together as fit; a larger one alone."""
    pack: list[torch.Tensor] = []
    filled = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if pack and filled + size > _PACK:
            yield pack
            pack, filled = [], 0
        pack.append(tensor)
        filled += size
    if pack:
        yield pack
