"""Chooses and joins the ring of a slot. Called once by each rank; what an image lacks is told here, by name."""

import os
from typing import TYPE_CHECKING

from fedtrainer.errors import CollectiveMissingError
from fedtrainer.ring.single import SingleRing, device_of
from fedtrainer.ring.slot import Slot

if TYPE_CHECKING:
    from fedtrainer.ring.port import Ring
    from fedtrainer.ring.rendezvous import Rendezvous


def join(slot: Slot, rendezvous: "Rendezvous | None") -> "Ring":
    """The ring of `slot`. A slot of one rank needs no rendezvous. CollectiveMissingError, RingBroken."""
    if slot.accelerator == "TPU":
        return _xla(slot, rendezvous)
    if slot.size == 1:
        return SingleRing(device_of(slot))
    if slot.collective == "XLA":
        raise CollectiveMissingError(
            f"pool.collective is XLA, which joins TPU chips, but pool.accelerator is {slot.accelerator}: use Horovod "
            "or TorchDistributed"
        )
    return _between(slot, rendezvous, device_of(slot))


def _between(slot: Slot, rendezvous: "Rendezvous | None", device: str) -> "Ring":
    """The ring whose members are processes."""
    if rendezvous is None:
        raise AssertionError(f"a ring of {slot.size} ranks needs a rendezvous")
    if slot.collective == "TorchDistributed":
        from fedtrainer.ring.torchdist import TorchRing  # noqa: PLC0415 - each library only where it is asked for

        return TorchRing(slot, rendezvous, device)
    try:
        from fedtrainer.ring.horovod import HorovodRing  # noqa: PLC0415
    except ImportError as error:
        raise CollectiveMissingError(
            f"pool.collective is Horovod, but this image has no horovod ({error}): use the trainer image, install the "
            "horovod wheel that images/trainer/horovod_wheel.py builds, or set pool.collective to TorchDistributed"
        ) from error
    return HorovodRing(slot, rendezvous, device)


def _xla(slot: Slot, rendezvous: "Rendezvous | None") -> "Ring":
    """Chips of a slice by XLA, slices by an outer ring with one participant each."""
    slices = slot.size // slot.slice_hosts
    if slices > 1 and slot.collective == "XLA":
        raise CollectiveMissingError(
            f"pool.collective is XLA, but the pool has {slices} slices, which XLA does not join: use Horovod or "
            "TorchDistributed"
        )
    os.environ.setdefault("PJRT_DEVICE", "TPU")  # before the import, which would choose the CPU in silence
    try:
        from fedtrainer.ring.xla import XlaRing, between_slices  # noqa: PLC0415
    except ImportError as error:
        raise CollectiveMissingError(
            f"pool.accelerator is TPU, but this image has no torch_xla ({error}): use the trainer image's target tpu"
        ) from error
    outer_seat = between_slices(slot)
    if slices == 1 or outer_seat is None:
        return XlaRing(slot, SingleRing("cpu"))
    return XlaRing(slot, _between(outer_seat, rendezvous, "cpu"))
