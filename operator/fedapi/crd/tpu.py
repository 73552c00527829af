"""TPU slices as Google Kubernetes Engine offers them: types, topologies, chips per host. The CEL rules come from it.

Read by crd/flclient.py, fedoperator.desired and the documentation. Names are values of the node label
cloud.google.com/gke-tpu-accelerator; a topology's chips are the product of its numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

_FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = (
    "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x12", "8x8x16", "8x16x16",
)  # fmt: skip


@dataclass(frozen=True)
class TpuType:
    """One kind of TPU slice."""

    generation: str  # as people call it
    topologies: tuple[str, ...]
    chips_per_host: Mapping[int, tuple[str, ...]]  # devices per pod -> topologies that allow it; () all


TPU_TYPES: Mapping[str, TpuType] = {
    "tpu-v4-podslice": TpuType("v4", _CUBES, {4: ()}),
    "tpu-v5-lite-podslice": TpuType("v5e", ("1x1", *_FLAT), {1: ("1x1",), 4: _FLAT, 8: ("2x4",)}),
    "tpu-v5p-slice": TpuType("v5p", (*_CUBES, "16x16x16", "16x16x24"), {4: ()}),
    "tpu-v6e-slice": TpuType("v6e", ("1x1", *_FLAT), {1: ("1x1",), 4: _FLAT, 8: ("2x4",)}),
    "tpu7x": TpuType("7x", ("1x1x1", *_CUBES, "16x16x16"), {1: ("1x1x1",), 4: (*_CUBES, "16x16x16")}),
}


def chips(topology: str) -> int:
    """Chips of a slice: 16 for 4x4."""
    return prod(int(number) for number in topology.split("x"))


def default_count(topology: str) -> int:
    """Devices per pod where the site does not say: 4, or the one of a slice of one chip."""
    return min(4, chips(topology))


def hosts(topology: str, count: int) -> int:
    """Pods of one slice."""
    return max(1, chips(topology) // count)


def counts(type_: str, topology: str) -> tuple[int, ...]:
    """Devices per pod that the type allows with a topology; more than one where machines of two sizes form it."""
    allowed = TPU_TYPES[type_].chips_per_host.items()
    return tuple(count for count, topologies in allowed if topology in (topologies or TPU_TYPES[type_].topologies))


def combinations() -> Iterator[tuple[str, str, int]]:
    """Every allowed (type, topology, devices per pod)."""
    for name, kind in TPU_TYPES.items():
        for topology in kind.topologies:
            for count in counts(name, topology):
                yield name, topology, count
