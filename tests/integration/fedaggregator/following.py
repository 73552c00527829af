"""Scripted sites that make each model of the one that they have, where a delta comes. Used by tests here and in tests/chaos."""

import hashlib
from io import BytesIO

import numpy as np

from fedapi.wire.compression import Encoding
from fedapi.wire.download import Download
from fedapi.wire.orders import TrainOrder
from fedcore.compression import deltas
from fedcore.tensors import tensorfile
from tests.integration.fedaggregator.harness import Site, Tensors


class Following(Site):
    """A site that makes its models of the one before, unless it has lost that."""

    held = b""
    wholes = made = 0
    forgets = frozenset[int]()  # rounds in which it does
    order: TrainOrder | None = None

    def download(self, blob: Download) -> bytes:
        order = self.order
        if order is None or blob != order.model:
            return super().download(blob)
        delta = order.reference.delta
        if order.round in self.forgets:
            self.held = b""
        if delta is not None and hashlib.sha256(self.held).hexdigest() == delta.of_sha256:
            self.held, self.made = made_of(self.held, super().download(delta.file), delta.encoding), self.made + 1
        elif hashlib.sha256(self.held).hexdigest() != blob.sha256:
            self.held, self.wholes = super().download(blob), self.wholes + 1
        assert hashlib.sha256(self.held).hexdigest() == blob.sha256, "what the hub has made"
        return self.held

    def take_part(self, order: TrainOrder):
        self.order = order
        try:
            return super().take_part(order)
        finally:
            self.order = None


def made_of(held: bytes, delta: bytes, encoding: Encoding) -> bytes:
    """The model's file that a delta makes of the one before."""
    tables = []
    for data in (held, delta):
        size = tensorfile.header_size(data[:8], len(data))
        tables.append(tensorfile.parsed(data[8 : 8 + size], len(data)))

    def reading(data):
        return lambda buffer, offset: BytesIO(data[offset : offset + buffer.nbytes]).readinto(buffer)

    header, _ = tensorfile.canonical_header(tables[0].tensors)
    made = deltas.added(reading(held), tables[0], reading(delta), tables[1], encoding.codec)
    return header + b"".join(block.tobytes() for _, blocks in made for block in blocks)


def trained(base: Tensors, client: str, order: TrainOrder) -> Tensors:
    """Depends on every bit of what came."""
    factor = np.float32(0.25 if client == "a" else -0.125)
    return {name: value * factor + np.float32(order.round) * value[..., ::-1] for name, value in base.items()}
