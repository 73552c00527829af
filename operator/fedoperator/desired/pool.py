"""A site's pool in numbers: pods, ranks, devices, slices, and what joins them, with every default resolved. Pure.

Called by the builders beside it and by fedoperator.decide. The pool has passed the rules of its resource.
"""

from dataclasses import dataclass
from typing import Literal, Self

from fedapi.crd.flclient import Pool
from fedapi.crd.tpu import default_count, hosts

Accelerator = Literal["CPU", "GPU", "TPU"]
Collective = Literal["Horovod", "TorchDistributed", "XLA"]
Backend = Literal["Auto", "Gloo", "NCCL"]


@dataclass(frozen=True)
class Shape:
    """What a pool amounts to."""

    accelerator: Accelerator
    workers: int  # pods
    min_workers: int  # with fewer pods the ring waits
    slots: int  # ranks per pod
    count: int  # devices per pod; 0 with CPU
    hosts: int  # pods per TPU slice; 1 without slices
    slices: int  # TPU slices; 0 without
    collective: Collective
    backend: Backend

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return self.workers * self.slots

    @property
    def chips(self) -> int:
        """Devices of the whole pool; 0 with CPU."""
        return self.workers * self.count

    @classmethod
    def of(cls, pool: Pool) -> Self:
        """The shape of a pool."""
        count, per_slice = _devices(pool), _hosts(pool)
        workers = pool.workers or per_slice
        slices = workers // per_slice if pool.tpu else 0
        slots = pool.slots_per_worker or (count if pool.accelerator == "GPU" else 1)
        return cls(
            accelerator=pool.accelerator,
            workers=workers,
            min_workers=pool.min_workers or workers,
            slots=slots,
            count=count,
            hosts=per_slice,
            slices=slices,
            collective=pool.collective or ("XLA" if slices == 1 else "Horovod"),
            backend="Gloo" if _mig(pool) and pool.backend == "Auto" else pool.backend,
        )


def _devices(pool: Pool) -> int:
    if pool.accelerator == "CPU":
        return 0
    return pool.count or (default_count(pool.tpu.topology) if pool.tpu else 1)


def _mig(pool: Pool) -> bool:
    """Whether the devices are parts of GPUs, which NCCL cannot join."""
    return "/mig-" in (pool.resource_name or "")


def _hosts(pool: Pool) -> int:
    return hosts(pool.tpu.topology, _devices(pool)) if pool.tpu else 1


def takes_jobset(shape: Shape) -> bool:
    """Whether a JobSet, where the cluster has it, places the pool better than a Job: each slice on one node pool."""
    return shape.hosts > 1


def needs_jobset(shape: Shape) -> bool:
    """Whether nothing but a JobSet can place the pool: several slices, each of several hosts."""
    return shape.hosts > 1 and shape.slices > 1
