"""Pools in numbers: the table that rendering rests on."""

import pytest

from fedapi.crd.flclient import Pool
from fedoperator.desired.pool import Shape, needs_jobset, takes_jobset
from tests.unit.fedoperator.desired import manifests as m

# pool -> workers, least workers, slots, devices per pod, hosts per slice, slices, what joins the ranks
SHAPES = [
    ({}, (1, 1, 1, 0, 1, 0, "Horovod")),
    ({"workers": 3, "minWorkers": 2, "slotsPerWorker": 2}, (3, 2, 2, 0, 1, 0, "Horovod")),
    (m.GPU, (1, 1, 8, 8, 1, 0, "Horovod")),
    (m.GPU | {"workers": 4, "collective": "TorchDistributed"}, (4, 4, 8, 8, 1, 0, "TorchDistributed")),
    (m.GPU | {"slotsPerWorker": 2}, (1, 1, 2, 8, 1, 0, "Horovod")),
    (m.tpu("1x1"), (1, 1, 1, 1, 1, 1, "XLA")),
    (m.tpu("2x2", workers=3, minWorkers=1), (3, 1, 1, 4, 1, 3, "Horovod")),
    (m.tpu("2x4"), (2, 2, 1, 4, 2, 1, "XLA")),
    (m.tpu("2x4", count=8), (1, 1, 1, 8, 1, 1, "XLA")),
    (m.tpu("4x4", workers=4, collective="Horovod"), (4, 4, 1, 4, 4, 1, "Horovod")),
    (m.tpu("4x4", workers=8, collective="TorchDistributed"), (8, 8, 1, 4, 4, 2, "TorchDistributed")),
    (m.tpu("16x16x24", "tpu-v5p-slice"), (1536, 1536, 1, 4, 1536, 1, "XLA")),
]


@pytest.mark.parametrize(("pool", "expected"), SHAPES)
def test_shapes(pool, expected):
    shape = Shape.of(Pool.model_validate(pool))
    found = (shape.workers, shape.min_workers, shape.slots, shape.count, shape.hosts, shape.slices, shape.collective)
    assert found == expected
    assert shape.ranks == expected[0] * expected[2]
    assert needs_jobset(shape) == (shape.slices > 1 and shape.hosts > 1)
    assert takes_jobset(shape) == (shape.hosts > 1)
