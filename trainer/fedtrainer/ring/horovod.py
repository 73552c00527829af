"""The ring over Horovod: its gloo controller, gloo between CPU tensors, NCCL between CUDA tensors where it was built.

Made by join.py. Horovod is started without its launcher: rank 0 keeps the rendezvous in its own process and tells the
port through the rendezvous. Fusion is off: gradients.py has made buckets already, and sums that are fused by chance would
have other last bits on three or more ranks. Waiting is done here, by short sleeps: Horovod's own wait burns a core.
"""

import atexit
import itertools
import math
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import horovod.torch as hvd
import psutil
import torch
from horovod.runner.common.util.hosts import SlotInfo
from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

from fedtrainer.errors import CollectiveMissingError, RingBrokenError
from fedtrainer.ring.faults import broken, end_softly
from fedtrainer.ring.operations import barrier
from fedtrainer.ring.port import Pending
from fedtrainer.ring.relay import LOOPBACK, relay
from fedtrainer.ring.rendezvous import Rendezvous
from fedtrainer.ring.single import CopiedBack, Done, nothing_recorded, prepare_nccl, to_device
from fedtrainer.ring.slot import Slot

_CYCLE_MS = "1"  # between two looks of Horovod's thread at what is to do
_NAP_S = 0.0001  # between two looks of ours at what is done
_PIECE = 1 << 30  # bytes of one broadcast: Horovod counts elements in 32 bits
_WIDER = {torch.bfloat16: torch.float32, torch.uint8: torch.int32}  # sums of others go as these


class HorovodRing:
    """All ranks in Horovod's global process set."""

    multiple = 1
    place = to_device
    flush = nothing_recorded

    def __init__(self, slot: Slot, rendezvous: Rendezvous, device: str) -> None:
        self.rank, self.size, self.device = slot.rank, slot.size, device
        self._slot, self._broken = slot, False
        self._named: defaultdict[str, set[int]] = defaultdict(set)
        self._nccl = _nccl(slot, device)
        os.environ.update(_environment(slot))
        server = _rendezvous(slot, rendezvous) if slot.rank == 0 else None
        with ExitStack() as until_joined:
            os.environ.update(_found_at(slot.addresses[0], int(rendezvous.get("horovod rendezvous")), until_joined))
            rendezvous.gather("horovod", slot.size)  # who is missing is found here, where nothing aborts
            end_softly(slot, "Horovod")
            try:
                hvd.init()
            except (RuntimeError, ValueError) as error:
                raise self._break("starting Horovod", RuntimeError(error)) from error
            barrier(self)
        if server is not None:
            server.shutdown()
            server.server_close()

    def all_reduce_async(self, tensor: torch.Tensor) -> Pending:
        """See port.Ring."""
        if tensor.numel() == 0:
            return Done()
        taken = tensor.contiguous().to(dtype=_WIDER.get(tensor.dtype, tensor.dtype))
        if not self._nccl:
            taken = taken.cpu()
        pending = self._begin("all_reduce", taken, partial(hvd.allreduce_async_, op=hvd.Sum))
        return pending if taken is tensor else CopiedBack(pending, taken, tensor)

    def broadcast(self, tensor: torch.Tensor) -> None:
        """See port.Ring. Sent as bytes, in pieces."""
        flat = tensor.contiguous().view(-1)
        if flat.numel() == 0:
            return
        sent = (flat if self._nccl else flat.cpu()).view(torch.uint8)
        for piece in sent.split(_PIECE):
            self._begin("broadcast", piece, partial(hvd.broadcast_async_, root_rank=0)).wait()
        if sent.data_ptr() != tensor.data_ptr():
            tensor.copy_(sent.view(tensor.dtype).view(tensor.shape))

    def close(self) -> None:
        """All ranks stop together; one that saw the ring break only goes."""
        if not self._broken:
            hvd.shutdown()
            self._broken = True

    def _begin(self, operation: str, tensor: torch.Tensor, call: Callable[..., int]) -> Pending:
        """Under the lowest free name of this kind of tensor: alike at all ranks, and soon in Horovod's response cache."""
        kind = f"{operation} {tensor.dtype} {tensor.numel()}"
        number = next(n for n in itertools.count() if n not in self._named[kind])
        self._named[kind].add(number)
        try:
            handle = call(tensor, name=f"{kind} {number}")
        except RuntimeError as error:  # HorovodInternalError is one
            raise self._break(operation, error) from error
        return _Handle(partial(self._end, operation, kind, number, handle))

    def _end(self, operation: str, kind: str, number: int, handle: int) -> None:
        deadline = time.monotonic() + self._slot.timeout_s
        try:
            while not hvd.poll(handle):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no answer within {self._slot.timeout_s:g} s")  # noqa: TRY301 - told below
                time.sleep(_NAP_S)
            hvd.synchronize(handle)
        except RuntimeError as error:
            raise self._break(operation, error) from error
        self._named[kind].discard(number)

    def _break(self, operation: str, error: RuntimeError) -> RingBrokenError:
        """Horovod's shutdown, at exit too, would wait for peers that do not answer: it is left out."""
        self._broken = True
        atexit.unregister(hvd.shutdown)
        return broken(self._slot, operation, error)


@dataclass(frozen=True)
class _Handle:
    wait: Callable[[], None]  # RingBrokenError after the slot's timeout at the latest


def _nccl(slot: Slot, device: str) -> bool:
    """Whether sums of CUDA tensors go by NCCL; CollectiveMissingError when they must and cannot."""
    cuda, built = device.startswith("cuda"), bool(hvd.nccl_built())
    if slot.backend == "NCCL" and not (cuda and built):
        lack = "torch finds no CUDA device here" if built else "this image's horovod was built without NCCL"
        raise CollectiveMissingError(
            f"pool.backend is NCCL, but {lack}: use the trainer image's target gpu on a GPU pool, or pool.backend "
            "Auto or Gloo"
        )
    if not (cuda and built and slot.backend != "Gloo"):
        return False
    prepare_nccl(slot)
    return True


def _environment(slot: Slot) -> dict[str, str]:
    """What Horovod's launcher would have set. All waits of its gloo end within the slot's timeout."""
    timeout_s = math.ceil(slot.timeout_s)
    workers = slot.size // slot.local_size
    return {
        "HOROVOD_RANK": str(slot.rank),
        "HOROVOD_SIZE": str(slot.size),
        "HOROVOD_LOCAL_RANK": str(slot.local_rank),
        "HOROVOD_LOCAL_SIZE": str(slot.local_size),
        "HOROVOD_CROSS_RANK": str(slot.position),
        "HOROVOD_CROSS_SIZE": str(workers),
        "HOROVOD_HOSTNAME": _host(slot.position),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": _interface(slot.addresses[slot.position]),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(timeout_s),
        "HOROVOD_STALL_CHECK_TIME_SECONDS": str(max(1, timeout_s // 2)),
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": str(max(1, timeout_s)),
        "HOROVOD_FUSION_THRESHOLD": "0",
        "HOROVOD_WAIT_FOR_WORK": "1",  # of our wheel alone: no cycles while there is nothing to sum
        "HOROVOD_CYCLE_TIME": os.environ.get("HOROVOD_CYCLE_TIME", _CYCLE_MS),
        "HOROVOD_LOG_LEVEL": os.environ.get("HOROVOD_LOG_LEVEL", "error"),
    }


def _host(position: int) -> str:
    return f"worker-{position}"


def _interface(address: str) -> str:
    """Name of the network interface that has the address: gloo in Horovod wants a name."""
    for name, found in psutil.net_if_addrs().items():
        if any(each.address.split("%")[0] == address for each in found):
            return str(name)
    return "lo" if address.startswith("127.") else ""


def _found_at(address: str, port: int, until_joined: ExitStack) -> dict[str, str]:
    """Where Horovod's library finds the rendezvous: it asks over IPv4 alone, so an IPv6 address is reached by a relay."""
    if ":" in address:
        address, port = LOOPBACK, until_joined.enter_context(relay(address, port)).port
    return {"HOROVOD_GLOO_RENDEZVOUS_ADDR": address, "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port)}


class _Rendezvous6(RendezvousHTTPServer):  # type: ignore[misc]  # horovod is not checked
    address_family = socket.AF_INET6


def _rendezvous(slot: Slot, rendezvous: Rendezvous) -> RendezvousHTTPServer:
    """Horovod's own rendezvous, on a free port of rank 0's address, until all have joined."""
    kind = _Rendezvous6 if ":" in slot.addresses[0] else RendezvousHTTPServer
    server = kind((slot.addresses[0], 0), RendezvousHandler, False)
    threading.Thread(target=server.serve_forever, name="horovod-rendezvous", daemon=True).start()
    workers = slot.size // slot.local_size
    server.init(
        [
            SlotInfo(
                hostname=_host(rank // slot.local_size),
                rank=rank,
                local_rank=rank % slot.local_size,
                cross_rank=rank // slot.local_size,
                size=slot.size,
                local_size=slot.local_size,
                cross_size=workers,
            )
            for rank in range(slot.size)
        ]
    )
    rendezvous.put("horovod rendezvous", str(server.server_address[1]))
    return server
