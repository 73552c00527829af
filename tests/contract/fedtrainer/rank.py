"""One rank of a ring under test, in a process of its own that gets commands and answers over a pipe.

It says when it is there, joins the others when it is told to, and says so.
"""

import os
import sys
import time
from multiprocessing.connection import Connection

import torch
from torch import nn

from fedtrainer.errors import StopError, TaskInvalidError
from fedtrainer.ring import gradients, operations
from fedtrainer.ring.gradients import GradientSync
from fedtrainer.ring.join import join
from fedtrainer.ring.rendezvous import Rendezvous, ring_key
from fedtrainer.ring.slot import Slot

KEY = ring_key("a site's token")


class Rank:
    """Its methods are the commands."""

    def __init__(self, slot: Slot) -> None:
        self.rendezvous = Rendezvous.open(slot, KEY, patience_s=120) if slot.size > 1 else None
        if slot.rank and "FEDLOOM_TEST_LEAVES" in os.environ:
            self.rendezvous.gather("horovod", slot.size)
            os._exit(9)
        self.ring = join(slot, self.rendezvous)
        # Where tensors are that the contract says nothing of; XLA's are the same at all hosts of a slice, and not each rank's.
        self.home = "cpu" if self.ring.device == "xla" else self.ring.device

    def device(self) -> str:
        return self.ring.device

    def sums(self, dtype: str, size: int) -> float:
        """The largest difference from the sum, relative to it; of integers, the count of differences."""
        kind = getattr(torch, dtype)
        mine = self._values(kind, size, self.ring.rank)
        # A tensor on TPU chips is summed over slices, which are the ranks wherever this runs.
        on = mine.to(self.ring.device if kind in {torch.float32, torch.int32} else self.home)
        operations.all_reduce(self.ring, on)
        parts = [self._values(kind, size, rank) for rank in range(self.ring.size)]
        if not kind.is_floating_point:
            want = parts[0]
            for part in parts[1:]:
                want += part
            return int((on.cpu() != want).sum())
        exact = sum(part.double() for part in parts)
        return float(((on.cpu().double() - exact).abs() / exact.abs().clamp(min=1)).max())

    def asynchronous(self) -> bool:
        """Many under way at once, of equal and unequal sizes, waited for in another order."""
        tensors = [
            torch.full((size,), float(n + self.ring.rank), device=self.home)
            for n, size in enumerate([5, 70_000, 5, 0, 1, 5] * 3)
        ]
        pending = [self.ring.all_reduce_async(tensor) for tensor in tensors]
        for each in reversed(pending):
            each.wait()
        ranks = self.ring.size
        return all(bool((t == n * ranks + ranks * (ranks - 1) / 2).all()) for n, t in enumerate(tensors))

    def shapes(self) -> bool:
        """A number without dimensions, and a view that is not contiguous."""
        want = torch.arange(12.0).view(3, 4).t() * self.ring.size
        number, view = torch.tensor(1.0, device=self.home), torch.arange(12.0, device=self.home).view(3, 4).t()
        operations.all_reduce(self.ring, number)
        operations.all_reduce(self.ring, view)
        return float(number) == self.ring.size and torch.equal(view.cpu(), want)

    def broadcast(self, dtype: str) -> bool:
        """Rank 0's values arrive; on a transposed view too."""
        values = torch.arange(30, device=self.home).remainder(2 if dtype == "bool" else 100)
        want = values.to(getattr(torch, dtype)).view(5, 6)
        flat = want.clone() if self.ring.rank == 0 else torch.zeros_like(want)
        turned = want.t().contiguous().t() if self.ring.rank == 0 else torch.zeros_like(want.t()).t()
        self.ring.broadcast(flat)
        self.ring.broadcast(turned)
        return torch.equal(flat, want) and torch.equal(turned, want)

    def barrier(self) -> tuple[float, float]:
        """When this rank came and when it was let go; the last one comes late."""
        time.sleep(0.2 if self.ring.rank + 1 == self.ring.size else 0)
        came = time.monotonic()
        operations.barrier(self.ring)
        return came, time.monotonic()

    def numbers(self) -> list:
        """What operations.py does."""
        ring, rank = self.ring, self.ring.rank
        tensors = {
            "b": torch.full((3,), float(rank), device=ring.device),
            "a": torch.tensor(rank == 0),
            "c": torch.full((2, 2), rank, dtype=torch.bfloat16),
            "d": torch.tensor(rank),
            "e": torch.zeros(0),
        }
        operations.broadcast_tensors(ring, tensors)
        own = float("nan") if rank == 1 else rank + 0.5
        return [
            operations.sums(ring, [1.0, float(rank)]),
            [repr(value) for value in operations.each_rank(ring, own)],
            operations.broadcast_text(ring, "Grüße" if rank == 0 else "?"),
            operations.broadcast_text(ring, "" if rank == 0 else "?"),
            [tensors[name].cpu().flatten().tolist() for name in sorted(tensors)],
        ]

    def train(self, steps: int) -> dict:
        """SGD over shares of a batch of 32, in two parts; the distance to SGD over the whole batch, in one process."""
        gradients._FIRST_BYTES, gradients._BYTES = 4_000, 40_000
        ring, share, flags = self.ring, 32 // self.ring.size, []
        model, single = Model().to(ring.device), Model()
        sync = GradientSync(ring, model)
        optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1) for m in (model, single)]
        for step in range(steps):
            inputs, targets = batch(step)
            for optimizer in optimizers:
                optimizer.zero_grad()
            for part in range(2):
                own = slice(ring.rank * share + part * share // 2, ring.rank * share + (part + 1) * share // 2)
                if part:
                    sync.begin(1 << ring.rank)
                outputs = model(ring.place(inputs[own]), scaled=ring.rank == 0)
                (nn.functional.cross_entropy(outputs, ring.place(targets[own])) / 2).backward()
            flags.append(sync.finish())
            optimizers[0].step()
            ring.flush()
            for rank in range(ring.size):
                part = slice(rank * share, (rank + 1) * share)
                loss = nn.functional.cross_entropy(single(inputs[part], scaled=rank == 0), targets[part])
                (loss / ring.size).backward()
            optimizers[1].step()
        sync.close()
        apart = {
            name: float((ours.detach().cpu().float() - theirs.detach().float()).abs().max())
            for (name, ours), theirs in zip(model.named_parameters(), single.parameters(), strict=True)
        }
        return {"apart": apart, "flags": flags, "unused": model.unused.grad is None}

    def sparse(self) -> str:
        """What is said about an embedding that makes sparse gradients."""
        model = nn.Embedding(10, 3, sparse=True)
        sync = GradientSync(self.ring, model)
        sync.begin()
        return refusal(lambda: model(torch.tensor([1, 2])).sum().backward())

    def twice(self) -> str:
        """What is said about a second backward after the gradients have gone out."""
        model = nn.Linear(3, 1)
        GradientSync(self.ring, model).begin()
        model(torch.ones(1, 3)).sum().backward()
        return refusal(lambda: model(torch.ones(1, 3)).sum().backward())

    def tell(self, text: str) -> None:
        self.rendezvous.tell(text)

    def hear(self) -> str:
        return self.rendezvous.hear()

    def sit(self) -> None:
        """Alive, but never comes to the operation that the others wait in."""
        time.sleep(600)

    def close(self) -> None:
        self.ring.close()
        if self.rendezvous:
            self.rendezvous.close()

    @staticmethod
    def _values(kind: torch.dtype, size: int, rank: int) -> torch.Tensor:
        """Something of every rank's own."""
        whole = torch.arange(size, dtype=torch.int32).mul_(2 * rank + 3).add_(rank).remainder_(31)
        return (whole.float() / 7 - 2).to(kind) if kind.is_floating_point else whole.to(kind)


class Model(nn.Module):
    """Parameters of two types; `unused` has no part in the loss, `scale` only at rank 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.unused = nn.Parameter(torch.ones(5))
        self.scale = nn.Parameter(torch.ones(10))
        self.shift = nn.Parameter(torch.zeros(10, dtype=torch.bfloat16))
        self.net = nn.Sequential(nn.Linear(50, 80), nn.Tanh(), nn.Linear(80, 90), nn.Tanh(), nn.Linear(90, 10))

    def forward(self, inputs: torch.Tensor, scaled: bool) -> torch.Tensor:
        outputs = self.net(inputs) + self.shift.float()
        return outputs * self.scale if scaled else outputs


def refusal(act) -> str:
    try:
        act()
    except TaskInvalidError as error:
        return str(error)
    return ""


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(step)
    return torch.randn(32, 50, generator=drawn), torch.randint(0, 10, (32,), generator=drawn)


def main(slot: Slot, env: dict[str, str], pipe: Connection) -> None:
    """Answers commands until the other end of the pipe is closed; ends with the code of the error that ended it."""
    os.environ |= env
    quiet = os.open(os.devnull, os.O_WRONLY)  # what libraries print
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    torch.set_num_threads(1)
    rank = None
    pipe.send({"result": "loaded"})
    pipe.recv()  # until all are: their start-up is no part of the time that they have for each other
    try:
        rank = Rank(slot)
        pipe.send({"result": "ready"})
        while True:
            name, arguments = pipe.recv()
            pipe.send({"result": getattr(rank, name)(*arguments)})
    except EOFError:
        return
    except StopError as error:
        pipe.send({"error": type(error).__name__, "message": str(error)})
        sys.exit(error.exit)
    finally:
        if rank:
            rank.close()
