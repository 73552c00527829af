"""A ring of one rank, and what adapters of one device per rank have alike. Used by join.py and by them; knows no library but torch."""

import logging
import os
from dataclasses import dataclass

import torch

from fedtrainer.errors import CollectiveMissingError
from fedtrainer.ring.port import Pending, Ring
from fedtrainer.ring.slot import Slot

log = logging.getLogger(__name__)


def device_of(slot: Slot) -> str:
    """`cpu`, or this rank's share of what torch.accelerator finds (cuda, hpu, xpu, …).

    A rank alone takes whatever there is. Ranks of a CPU pool stay on the CPU. Metal is left out: it has no float64.
    """
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or found.type == "mps":
        if slot.accelerator == "GPU":
            log.warning("pool.accelerator is GPU, but torch finds no accelerator here: training on the CPU")
        return "cpu"
    if slot.accelerator == "CPU" and slot.size > 1:
        return "cpu"
    index = slot.local_rank % torch.accelerator.device_count()
    torch.accelerator.set_device_index(index)
    log.info("on %s:%d%s", found.type, index, f", {torch.cuda.get_device_name(index)}" if found.type == "cuda" else "")
    return f"{found.type}:{index}"


def prepare_nccl(slot: Slot) -> None:
    """Before NCCL joins GPUs: what goes wrong in it is to be in the log. CollectiveMissingError where ranks share a GPU."""
    os.environ.setdefault("NCCL_DEBUG", "WARN")
    there = torch.accelerator.device_count()
    if slot.local_size > there:
        raise CollectiveMissingError(
            f"NCCL takes one rank per GPU, and {slot.local_size} ranks of this worker see {there}: give the pool whole "
            f"GPUs (nodes that share a GPU in time count it several times), lower pool.slotsPerWorker to {there}, or set "
            "pool.backend Gloo"
        )


def to_device(ring: Ring, tensor: torch.Tensor) -> torch.Tensor:
    """Ring.place where a rank has one device."""
    return tensor.to(ring.device, non_blocking=True)


def nothing_recorded(ring: Ring) -> None:
    """Ring.flush where operations run as they are called."""


class Done:
    """An operation that is over."""

    def wait(self) -> None:
        """At once."""


@dataclass(frozen=True)
class CopiedBack:
    """An operation on a copy, whose result goes back into the tensor that was meant."""

    pending: Pending
    copy: torch.Tensor
    target: torch.Tensor

    def wait(self) -> None:
        """Waits for the operation, then copies."""
        self.pending.wait()
        self.target.copy_(self.copy.view(self.target.shape))


class SingleRing:
    """Nobody to talk to: sums are what they were."""

    rank, size, multiple = 0, 1, 1
    place = to_device
    flush = nothing_recorded

    def __init__(self, device: str) -> None:
        self.device = device

    def all_reduce_async(self, tensor: torch.Tensor) -> Pending:  # noqa: ARG002 - the port's signature
        """The tensor is the sum."""
        return Done()

    def broadcast(self, tensor: torch.Tensor) -> None:
        """The tensor is rank 0's."""

    def close(self) -> None:
        """Nothing to leave."""
