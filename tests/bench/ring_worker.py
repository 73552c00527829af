"""One rank of the ring benchmarks: `python -m tests.bench.ring_worker MODE SLOT_JSON`, commands and answers as JSON lines.

MODE is `alone` (one process, no ring), `ring` (this project's: the slot says which) or `ddp` (torch's own
DistributedDataParallel over gloo). Trains the CNN of examples/fashion-mnist on made-up images, on one thread.
"""

import importlib.util
import json
import os
import socket
import struct
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch

from fedtrainer.ring import operations
from fedtrainer.ring.gradients import GradientSync
from fedtrainer.ring.join import join
from fedtrainer.ring.rendezvous import Rendezvous, ring_key
from fedtrainer.ring.single import SingleRing
from fedtrainer.ring.slot import Slot

TASK = Path(__file__).resolve().parents[2] / "examples" / "fashion-mnist" / "fashion_mnist.py"
BATCH, IMAGES = 64, 4096
CHANNELS = 32  # and 64 in the second layer, as the usual CNN for images of this size
_BYTES_SENT = 200  # offset of tcpi_bytes_sent in Linux' struct tcp_info


class Worker:
    """Its public methods are the commands."""

    def __init__(self, mode: str, slot: Slot) -> None:
        self._ring = SingleRing("cpu")
        if mode == "ring":
            self._ring = join(slot, Rendezvous.open(slot, ring_key("bench"), 60))
        if mode == "ddp":
            torch.distributed.init_process_group(
                "gloo",
                init_method=f"tcp://{slot.addresses[0]}:{slot.store_port}",
                rank=slot.rank,
                world_size=slot.size,
                timeout=timedelta(seconds=slot.timeout_s),
            )
        torch.manual_seed(slot.rank)
        self._images, self._labels = torch.randn(IMAGES, 1, 28, 28), torch.randint(0, 10, (IMAGES,))
        spec = importlib.util.spec_from_file_location("fashion_mnist", TASK)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._model = module.task(CHANNELS).model()
        self._sync = GradientSync(self._ring, self._model)
        self._step = torch.nn.parallel.DistributedDataParallel(self._model) if mode == "ddp" else self._model
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=0.01, momentum=0.9)

    def train(self, steps: int) -> float:
        """Seconds of so many optimizer steps."""
        started = time.perf_counter()
        for step in range(steps):
            part = slice(step * BATCH % IMAGES, step * BATCH % IMAGES + BATCH)
            self._optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self._step(self._images[part]), self._labels[part])
            self._sync.begin()
            loss.backward()
            self._sync.finish()
            self._optimizer.step()
        return time.perf_counter() - started

    def reduce(self, size: int, times: int) -> int:
        """Bytes that this process sends over TCP while `size` bytes are summed so many times."""
        tensor = torch.ones(size // 4)
        operations.all_reduce(self._ring, tensor)
        operations.barrier(self._ring)
        before = _sent()
        for _ in range(times):
            operations.all_reduce(self._ring, tensor)
        return _sent() - before


def _sent() -> int:
    """What the kernel counts as sent on all TCP connections of this process: payload, repeats included."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            with socket.socket(fileno=os.dup(int(entry.name))) as found:
                if found.type == socket.SOCK_STREAM and found.family in {socket.AF_INET, socket.AF_INET6}:
                    info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_SENT + 8)
                    total += struct.unpack_from("Q", info, _BYTES_SENT)[0]
        except OSError:  # no socket
            continue
    return total


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    values = json.loads(sys.argv[2])
    worker = Worker(sys.argv[1], Slot(**values | {"addresses": tuple(values["addresses"])}))
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(worker, name)(*arguments)), file=answers)
    os._exit(0)  # nothing of a ring is left to be kept


if __name__ == "__main__":
    main()
