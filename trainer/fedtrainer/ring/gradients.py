"""Gradients that become means over the ranks while backward still runs. Used by the training loop and ctx.parallel.

Parameters stand in buckets in reverse order of registration, the first one small. A hook starts a bucket's all-reduce
when all of its gradients are there and all buckets before it have started, so that every rank starts them in one order.
The last bucket ends with a few numbers more: the flags, and which parameters this rank has used. A parameter that no
rank has used keeps no gradient, as in one process. On XLA everything happens in `finish`: reading a gradient inside
backward would cut its graph in pieces.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from fedtrainer.errors import TaskInvalidError
from fedtrainer.ring.port import Pending, Ring

FLAG_BITS = 8
_FIRST_BYTES = 1 << 20  # the first bucket is on its way soon after backward has begun
_BYTES = 25 << 20  # as large as torch's DistributedDataParallel makes them


@dataclass
class _Bucket:
    """Parameters of one type, and one tensor with room for all of their gradients."""

    numbers: list[int]  # of the parameters, in the order of `flat`
    flat: torch.Tensor
    views: list[torch.Tensor]
    missing: int = 0  # gradients that are not there yet
    pending: Pending | None = field(default=None, repr=False)


class GradientSync:
    """`begin` before the last backward of a step, `finish` after it. A ring of one rank does nothing."""

    def __init__(self, ring: Ring, model: torch.nn.Module) -> None:
        self._ring = ring
        self._named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._armed, self._flags, self._next = False, 0, 0
        self._used: set[int] = set()
        self._buckets: list[_Bucket] = []
        self._home: dict[int, _Bucket] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        if ring.size == 1 or not self._named:
            return
        self._late = ring.device.startswith("xla")
        self._fill()
        if not self._late:
            for number, (_, parameter) in enumerate(self._named):
                self._hooks.append(parameter.register_post_accumulate_grad_hook(self._hook(number)))

    def begin(self, flags: int = 0) -> None:
        """The next backward is the step's last. `flags`: up to 8 bits that all ranks are to know."""
        if flags >> FLAG_BITS:
            raise ValueError(f"flags: {flags:#x} has more than {FLAG_BITS} bits")
        self._armed, self._flags, self._next = True, flags, 0
        self._used.clear()
        for bucket in self._buckets:
            bucket.missing, bucket.pending = len(bucket.numbers), None

    def finish(self) -> int:
        """Waits; gradients are means over the ranks now. All ranks' flags, together."""
        if not self._armed:
            raise AssertionError("GradientSync.finish without begin")
        self._armed = False
        if not self._buckets:
            return self._flags
        if self._late:
            self._ring.flush()
        self._used.update(n for n, (_, parameter) in enumerate(self._named) if parameter.grad is not None)
        while self._next < len(self._buckets):
            self._start(self._buckets[self._next])
        for bucket in self._buckets:
            if bucket.pending is not None:
                bucket.pending.wait()
        tail = (self._buckets[-1].flat[-self._tail :].cpu() > 0).tolist()
        used = tail[FLAG_BITS:]
        for bucket in self._buckets:
            for number, view in zip(bucket.numbers, bucket.views, strict=True):
                self._give(self._named[number][1], view, used=used[number])
        return sum(1 << bit for bit in range(FLAG_BITS) if tail[bit])

    def close(self) -> None:
        """Takes the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    @property
    def _tail(self) -> int:
        return FLAG_BITS + len(self._named)

    def _fill(self) -> None:
        """Makes the buckets."""
        groups: list[list[int]] = []
        filled: dict[tuple[torch.dtype, torch.device], int] = {}  # place in `groups` of the bucket being filled
        sizes: list[int] = []
        for number in reversed(range(len(self._named))):
            name, parameter = self._named[number]
            if not parameter.is_floating_point():
                raise TaskInvalidError(f"parameter {name} is {parameter.dtype}: ranks can average real numbers only")
            kind, size = (parameter.dtype, parameter.device), parameter.numel() * parameter.element_size()
            place = filled.get(kind)
            if place is None or sizes[place] + size > (_BYTES if place else _FIRST_BYTES):
                place = filled[kind] = len(groups)
                groups.append([])
                sizes.append(0)
            groups[place].append(number)
            sizes[place] += size
        for place, numbers in enumerate(groups):
            self._buckets.append(self._bucket(numbers, self._tail if place == len(groups) - 1 else 0))
            self._home |= dict.fromkeys(numbers, self._buckets[-1])

    def _bucket(self, numbers: list[int], tail: int) -> _Bucket:
        parameters = [self._named[number][1] for number in numbers]
        lengths = [parameter.numel() for parameter in parameters]
        device = "cpu" if self._late else parameters[0].device
        flat = torch.zeros(sum(lengths) + tail, dtype=parameters[0].dtype, device=device)
        parts = flat[: sum(lengths)].split(lengths)
        return _Bucket(numbers, flat, [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)])

    def _hook(self, number: int) -> Callable[[torch.Tensor], None]:
        def arrived(parameter: torch.Tensor) -> None:
            if not self._armed:
                return
            bucket = self._home[number]
            if bucket.pending is not None:
                raise TaskInvalidError(
                    f"the gradient of {self._named[number][0]} changed after it had been sent to the other ranks: call "
                    "backward once per step, and use checkpoint(..., use_reentrant=False)"
                )
            if number in self._used:
                return
            self._used.add(number)
            self._check(number, parameter)
            bucket.missing -= 1
            while self._next < len(self._buckets) and self._buckets[self._next].missing == 0:
                self._start(self._buckets[self._next])

        return arrived

    def _check(self, number: int, parameter: torch.Tensor) -> None:
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise TaskInvalidError(
                f"the gradient of {self._named[number][0]} is sparse, which ranks cannot average: make the embedding "
                "with sparse=False"
            )

    def _start(self, bucket: _Bucket) -> None:
        """Every rank's part of the mean goes out: dividing first keeps float16 in range."""
        share = 1.0 / self._ring.size
        with torch.no_grad():
            for number, view in zip(bucket.numbers, bucket.views, strict=True):
                gradient = self._named[number][1].grad
                if gradient is None:
                    view.zero_()
                else:
                    self._check(number, self._named[number][1])
                    torch.mul(gradient.to(view.device), share, out=view)
            if bucket is self._buckets[-1]:
                bits = [float(self._flags >> bit & 1) for bit in range(FLAG_BITS)]
                bits += [float(number in self._used) for number in range(len(self._named))]
                bucket.flat[-self._tail :] = torch.tensor(bits, dtype=bucket.flat.dtype)
        self._next += 1
        bucket.pending = self._ring.all_reduce_async(bucket.flat)

    def _give(self, parameter: torch.Tensor, view: torch.Tensor, *, used: bool) -> None:
        if not used:
            parameter.grad = None
        elif self._late:
            parameter.grad = view.to(parameter.device)
        else:
            parameter.grad = view  # no copy: the optimizer reads the bucket
