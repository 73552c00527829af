"""The port between training and whatever joins the ranks of a site. Implemented by the adapters beside it.

Every rank calls the same operations in the same order with tensors of equal shape and type. An operation that
cannot be finished (a peer has ended, or does not answer in time) raises RingBroken at every rank that is left.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Pending(Protocol):
    """An operation under way."""

    def wait(self) -> None:
        """Returns when the tensor holds the result."""


class Ring(Protocol):
    """The ranks of a site as one of them sees it. A rank is a process; with XLA it drives all chips of its host."""

    @property
    def rank(self) -> int:
        """Number of this rank, from 0. Rank 0 speaks to the aggregator."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    @property
    def device(self) -> str:
        """Where this rank's model is: `cpu`, `cuda:0`, `xla`, or another type of torch.accelerator."""

    @property
    def multiple(self) -> int:
        """What the ranks' batches together must be a multiple of: the chips, where hosts compute one batch; else 1."""

    def place(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """A batch's tensor on the device; with XLA split over the chips along its first dimension, where that divides."""

    def flush(self) -> None:
        """Ends an optimizer step: XLA runs what was recorded. Elsewhere nothing happens."""

    def all_reduce_async(self, tensor: "torch.Tensor") -> Pending:
        """Begins the sum over all ranks, in place: the tensor must not be touched before `wait` has returned.

        Any shape; float16, bfloat16, float32, float64, uint8, int32 or int64.
        """

    def broadcast(self, tensor: "torch.Tensor") -> None:
        """Rank 0's values, in place. Types as in all_reduce_async, and bool, int8, int16."""

    def close(self) -> None:
        """Leaves the ring; never raises."""
