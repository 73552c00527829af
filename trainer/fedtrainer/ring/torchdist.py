"""The ring over torch.distributed: gloo between CPU tensors, NCCL between CUDA tensors. Made by join.py.

Process groups are made directly over the meeting's store, not through the global default group: a task may use that
itself. gloo listens on the seat's own address, so no interface must be named. NCCL serves pool.backend Auto and NCCL.
"""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from fedtrainer.errors import CollectiveMissing
from fedtrainer.ring.faults import broken, end_softly
from fedtrainer.ring.meeting import Meeting
from fedtrainer.ring.port import Pending
from fedtrainer.ring.seat import Seat
from fedtrainer.ring.single import CopiedBack, Done


class TorchRing:
    """All ranks in one or two process groups."""

    multiple = 1

    def __init__(self, seat: Seat, meeting: Meeting, device: str) -> None:
        self.rank, self.size, self.device = seat.rank, seat.size, device
        self._seat = seat
        cuda = device.startswith("cuda")
        if seat.backend == "NCCL" and not cuda:
            raise CollectiveMissing(
                "pool.backend is NCCL, but torch finds no CUDA device here: use an image with CUDA torch on a GPU "
                "pool, or pool.backend Auto or Gloo"
            )
        try:
            self._gloo = _gloo(seat, meeting)
            self._nccl = _nccl(seat, meeting) if cuda and seat.backend != "Gloo" else None
        except RuntimeError as error:
            raise broken(seat, "joining by torch.distributed", error) from error

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """On the device."""
        return tensor.to(self.device, non_blocking=True)

    def flush(self) -> None:
        """Nothing is recorded here."""

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """See port.Ring."""
        self.all_reduce_async(tensor).wait()

    def all_reduce_async(self, tensor: torch.Tensor) -> Pending:
        """See port.Ring. A group does what it was given in that order."""
        if tensor.numel() == 0:
            return Done()
        sent = self._sendable(tensor)
        try:
            work = _Work(self._seat, "all_reduce", self._group(sent).allreduce([sent]))
        except RuntimeError as error:
            raise broken(self._seat, "all_reduce", error) from error
        return work if sent is tensor else CopiedBack(work, sent, tensor)

    def broadcast(self, tensor: torch.Tensor) -> None:
        """See port.Ring. Sent as bytes, because gloo does not know every type."""
        if tensor.numel() == 0:
            return
        sent = self._sendable(tensor)
        options = dist.BroadcastOptions()
        options.rootRank = 0
        try:
            work = self._group(sent).broadcast([sent.view(-1).view(torch.uint8)], options)
        except RuntimeError as error:
            raise broken(self._seat, "broadcast", error) from error
        _Work(self._seat, "broadcast", work).wait()
        if sent is not tensor:
            tensor.copy_(sent)

    def barrier(self) -> None:
        """See port.Ring."""
        self.all_reduce(torch.zeros(1, dtype=torch.int32))

    def close(self) -> None:
        """Drops the groups, which closes their connections."""
        if self._nccl is not None:
            self._nccl.abort()
        self._gloo = self._nccl = None

    def _sendable(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself if a group takes it as it is; else a copy of it, on the CPU where NCCL is not."""
        dense = tensor.contiguous()
        return dense if self._nccl is not None and tensor.is_cuda else dense.cpu()

    def _group(self, tensor: torch.Tensor) -> Any:
        return self._nccl if self._nccl is not None and tensor.is_cuda else self._gloo


class _Work:
    def __init__(self, seat: Seat, operation: str, work: Any) -> None:
        self._seat, self._operation, self._work = seat, operation, work

    def wait(self) -> None:
        """RingBroken after the group's timeout at the latest."""
        try:
            self._work.wait()
        except RuntimeError as error:
            raise broken(self._seat, self._operation, error) from error


def _gloo(seat: Seat, meeting: Meeting) -> Any:
    options = dist.ProcessGroupGloo._Options()  # noqa: SLF001 - torch's own way to a group with a device
    options._timeout = timedelta(seconds=seat.timeout_s)  # noqa: SLF001
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=seat.addresses[seat.position])]  # noqa: SLF001
    options._threads = 2  # noqa: SLF001 - two operations overlap, as torch does by default
    return dist.ProcessGroupGloo(dist.PrefixStore("gloo", meeting.store), seat.rank, seat.size, options)


def _nccl(seat: Seat, meeting: Meeting) -> Any:
    end_softly(seat, "NCCL")
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=seat.timeout_s)  # noqa: SLF001
    return dist.ProcessGroupNCCL(dist.PrefixStore("nccl", meeting.store), seat.rank, seat.size, options)
