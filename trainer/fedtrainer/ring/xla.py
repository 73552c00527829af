"""The ring of TPU hosts: XLA joins the chips of a slice, an outer ring joins slices. Made by join.py.

One process per host drives all its chips as one SPMD program: a batch is split over the chips, parameters are alike on
all, and XLA puts the reductions of the gradients into the compiled step. So a tensor on the device is the same at all
hosts of a slice, while a tensor on the CPU is each rank's own. Hosts of a slice sum those over the slice by XLA; the
first host of each slice takes part in the outer ring (Horovod or torch.distributed, gloo) and XLA carries the result
back into the slice. Nothing is counted twice. A slice of one host needs no XLA for tensors on the CPU.
"""

import os
from dataclasses import replace

import numpy as np
import torch
import torch_xla
import torch_xla.core.xla_model as xm
import torch_xla.distributed.spmd as xs
import torch_xla.runtime as xr

from fedtrainer.errors import CollectiveMissingError, TaskInvalidError
from fedtrainer.ring.port import Pending, Ring
from fedtrainer.ring.single import CopiedBack
from fedtrainer.ring.slot import Slot

_AXIS = "data"


def between_slices(slot: Slot) -> Slot | None:
    """This host's slot in the outer ring; None where another host stands for the slice."""
    hosts = slot.slice_hosts
    if slot.rank % hosts:
        return None
    return replace(slot, rank=slot.rank // hosts, size=slot.size // hosts, addresses=slot.addresses[::hosts])


class XlaRing:
    """One host of a slice. `outer` joins the slices: a SingleRing where there is one, or where another host does it."""

    device = "xla"

    def __init__(self, slot: Slot, outer: Ring) -> None:
        self.rank, self.size = slot.rank, slot.size
        self._outer, self._hosts, self._leads = outer, slot.slice_hosts, slot.rank % slot.slice_hosts == 0
        self._device, self._chips = _start()
        self._local = xr.addressable_runtime_device_count()
        self.multiple = slot.size * self._local if self._hosts > 1 else 1
        self._mesh = xs.Mesh(np.arange(self._chips), (self._chips,), (_AXIS,))

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Split over the chips where the first dimension divides; else every chip gets all of it."""
        if tensor.dim() and len(tensor) and len(tensor) % self._local == 0:
            return self._split(tensor)
        if self._hosts > 1:
            raise TaskInvalidError(
                f"a batch of {len(tensor) if tensor.dim() else 1} does not divide among the {self._local} chips of a "
                "host, and hosts of a slice compute one batch together: choose training.batchSize accordingly"
            )
        return tensor.to(self._device)

    def flush(self) -> None:
        """Runs what was recorded."""
        torch_xla.sync()

    def all_reduce_async(self, tensor: torch.Tensor) -> Pending:
        """See port.Ring. Only the outer ring's part is asynchronous."""
        copy = tensor.detach().cpu().contiguous()
        if tensor.device.type != "cpu":  # the same at all hosts of a slice: no sum over it
            copy = copy * self._hosts
        elif self._hosts > 1:
            copy = self._slice_sum(copy)
        pending = self._outer.all_reduce_async(copy)
        if self._hosts > 1:
            pending.wait()
            copy = self._from_leader(copy)
        return pending if copy is tensor else CopiedBack(pending, copy, tensor)

    def broadcast(self, tensor: torch.Tensor) -> None:
        """See port.Ring."""
        copy = tensor.detach().cpu().contiguous()
        self._outer.broadcast(copy)
        if self._hosts > 1:
            copy = self._from_leader(copy)
        if copy is not tensor:
            tensor.copy_(copy)

    def close(self) -> None:
        """Leaves the outer ring."""
        self._outer.close()

    def _split(self, tensor: torch.Tensor) -> torch.Tensor:
        """The hosts' tensors as one, one part per chip."""
        axes = (_AXIS, *(None for _ in tensor.shape[1:]))
        spec = xs.ShardingSpec(self._mesh, axes, minibatch=self._hosts > 1)
        placed: torch.Tensor = xm.send_cpu_data_to_device([tensor], self._device, input_sharding=spec)[0]
        return placed

    def _slice_sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of the hosts' CPU tensors: each host's first chip holds its own, the others zeros."""
        if tensor.numel() == 0:
            return tensor
        rows = torch.zeros((self._local, tensor.numel()), dtype=tensor.dtype)
        rows[0] = tensor.view(-1)
        total = self._split(rows).sum(0, dtype=tensor.dtype)
        xs.mark_sharding(total, self._mesh, (None,))
        return total.cpu().view(tensor.shape)

    def _from_leader(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of the slice's first host."""
        own = tensor if self._leads else torch.zeros_like(tensor)
        as_bits = own.view(-1).view(torch.uint8)  # a sum of bytes of which all but one are zero is exact
        return self._slice_sum(as_bits).view(tensor.dtype).view(tensor.shape)


def _start() -> tuple[torch.device, int]:
    """The runtime's device and how many chips the slice has. PJRT_DEVICE, which join.py sets, says of what kind."""
    kind = os.environ["PJRT_DEVICE"]
    try:
        xr.use_spmd()
        return torch_xla.device(), xr.global_runtime_device_count()
    except (RuntimeError, OSError) as error:
        words = " ".join(str(error).split())[:300]
        raise CollectiveMissingError(
            f"pool.accelerator is TPU, but XLA finds none here (PJRT_DEVICE is {kind}): check pool.tpu and that the "
            f"image has libtpu; it says: {words}"
        ) from error
