"""The ring over torch.distributed: gloo between CPU tensors, NCCL between CUDA tensors. Made by join.py.

Process groups are made directly over the rendezvous' store, not through the global default group: a task may use that
itself. gloo listens on the slot's own address, so no interface must be named. NCCL serves pool.backend Auto and NCCL.
NCCL itself never gives up on a silent peer, and torch's watchdog ends a process late and without a reason: the waiting is here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from fedtrainer.errors import CollectiveMissingError, RingBrokenError
from fedtrainer.ring.faults import broken, end_softly
from fedtrainer.ring.port import Pending
from fedtrainer.ring.rendezvous import Rendezvous
from fedtrainer.ring.single import CopiedBack, Done, nothing_recorded, prepare_nccl, to_device
from fedtrainer.ring.slot import Slot

_NAP_S = 0.0001  # between two looks at whether NCCL is done
_LATER_S = 60.0  # that torch's watchdog waits for longer than we do
_left: list[object] = []  # groups whose end would wait for peers


class TorchRing:
    """All ranks in one or two process groups."""

    multiple = 1
    place = to_device
    flush = nothing_recorded

    def __init__(self, slot: Slot, rendezvous: Rendezvous, device: str) -> None:
        self.rank, self.size, self.device = slot.rank, slot.size, device
        self._slot = slot
        cuda = device.startswith("cuda")
        if slot.backend == "NCCL" and not cuda:
            raise CollectiveMissingError(
                "pool.backend is NCCL, but torch finds no CUDA device here: use an image with CUDA torch on a GPU "
                "pool, or pool.backend Auto or Gloo"
            )
        nccl = cuda and slot.backend != "Gloo"
        if nccl:
            prepare_nccl(slot)
        try:
            self._gloo = _gloo(slot, rendezvous)
            self._nccl = _nccl(slot, rendezvous) if nccl else None
        except RuntimeError as error:
            raise broken(slot, "joining by torch.distributed", error) from error

    def all_reduce_async(self, tensor: torch.Tensor) -> Pending:
        """See port.Ring. A group does what it was given in that order."""
        if tensor.numel() == 0:
            return Done()
        sent = self._sendable(tensor)
        try:
            work = self._work("all_reduce", sent, self._group(sent).allreduce([sent]))
        except RuntimeError as error:
            raise self._break("all_reduce", error) from error
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
            raise self._break("broadcast", error) from error
        self._work("broadcast", sent, work).wait()
        if sent is not tensor:
            tensor.copy_(sent)

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

    def _work(self, operation: str, sent: torch.Tensor, work: Any) -> "Work":
        by_nccl = self._group(sent) is self._nccl
        return Work(work, self._slot.timeout_s if by_nccl else None, partial(self._break, operation))

    def _break(self, operation: str, error: RuntimeError) -> RingBrokenError:
        """The end of an NCCL group would wait for peers that do not answer: it is left to the end of the process."""
        if self._nccl is not None:
            _left.append(self._nccl)
            self._nccl = None
        return broken(self._slot, operation, error)


@dataclass(frozen=True)
class Work:
    """An operation of a group under way. gloo ends it in time by itself; with `timeout_s` it is looked at until then."""

    work: Any
    timeout_s: float | None
    broken: Callable[[RuntimeError], RingBrokenError]

    def wait(self) -> None:
        """RingBroken after the timeout at the latest."""
        try:
            if self.timeout_s is not None:
                self._look(time.monotonic() + self.timeout_s)
            self.work.wait()
        except RuntimeError as error:
            raise self.broken(error) from error

    def _look(self, deadline: float) -> None:
        while not self.work.is_completed():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer within {self.timeout_s:g} s")
            time.sleep(_NAP_S)


def _gloo(slot: Slot, rendezvous: Rendezvous) -> Any:
    options = dist.ProcessGroupGloo._Options()  # noqa: SLF001 - torch's own way to a group with a device
    options._timeout = timedelta(seconds=slot.timeout_s)  # noqa: SLF001
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=slot.addresses[slot.position])]  # noqa: SLF001
    options._threads = 2  # noqa: SLF001 - two operations overlap, as torch does by default
    return dist.ProcessGroupGloo(dist.PrefixStore("gloo", rendezvous.store), slot.rank, slot.size, options)


def _nccl(slot: Slot, rendezvous: Rendezvous) -> Any:
    end_softly(slot, "NCCL")
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=slot.timeout_s + _LATER_S)  # noqa: SLF001
    return dist.ProcessGroupNCCL(dist.PrefixStore("nccl", rendezvous.store), slot.rank, slot.size, options)
