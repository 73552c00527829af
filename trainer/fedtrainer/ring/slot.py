"""A rank's place in one generation of its site's ring. Values only, no torch.

The launcher makes slots and hands them to the ranks that it starts, as environment; join.py makes a Ring of one.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Self

Accelerator = Literal["CPU", "GPU", "TPU"]
Collective = Literal["Horovod", "TorchDistributed", "XLA"]
Backend = Literal["Auto", "Gloo", "NCCL"]

_PREFIX = "FEDLOOM_SLOT_"  # of the environment between launcher and rank; nobody else sets it


@dataclass(frozen=True)
class Slot:
    """One rank of one generation. Ranks are numbered worker by worker: rank 0 is worker 0's first."""

    generation: int = 0
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    worker: int = 0  # number of the pod in the pool; numbers of lost workers are missing in `addresses`
    addresses: tuple[str, ...] = ("127.0.0.1",)  # IP of every worker of this generation, in the order of ranks
    store_port: int = 0  # TCP port, on the first address, at which rank 0 keeps the rendezvous store
    accelerator: Accelerator = "CPU"
    collective: Collective = "Horovod"
    backend: Backend = "Auto"
    slice_hosts: int = 1  # TPU: workers per slice
    timeout_s: float = 300.0  # longest wait for peers in one operation

    @property
    def position(self) -> int:
        """Index of this rank's worker in `addresses`."""
        return self.rank // self.local_size

    def environment(self) -> dict[str, str]:
        """As environment variables of a rank."""
        values = asdict(self) | {"addresses": ",".join(self.addresses)}
        return {f"{_PREFIX}{name.upper()}": str(value) for name, value in values.items()}

    @classmethod
    def read(cls, env: Mapping[str, str] | None = None) -> Self | None:
        """The slot in the environment; None in a process that no launcher has started."""
        found = {
            name[len(_PREFIX) :].lower(): text for name, text in (env or os.environ).items() if name.startswith(_PREFIX)
        }
        if not found:
            return None
        values: dict[str, object] = dict(found)
        for name in ("generation", "rank", "size", "local_rank", "local_size", "worker", "store_port", "slice_hosts"):
            values[name] = int(found[name])
        values |= {"addresses": tuple(found["addresses"].split(",")), "timeout_s": float(found["timeout_s"])}
        return cls(**values)  # type: ignore[arg-type]
