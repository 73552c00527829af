"""Chooses and joins the ring of a seat. Called once by each rank; what an image lacks is told here, by name."""

import os
from typing import TYPE_CHECKING

from fedtrainer.errors import CollectiveMissing
from fedtrainer.ring.seat import Seat
from fedtrainer.ring.single import SingleRing, device_of

if TYPE_CHECKING:
    from fedtrainer.ring.meeting import Meeting
    from fedtrainer.ring.port import Ring


def join(seat: Seat, meeting: "Meeting | None") -> "Ring":
    """The ring of `seat`. A seat of one rank needs no meeting. CollectiveMissing, RingBroken."""
    if seat.accelerator == "TPU":
        return _xla(seat, meeting)
    if seat.size == 1:
        return SingleRing(device_of(seat))
    if seat.collective == "XLA":
        raise CollectiveMissing(
            f"pool.collective is XLA, which joins TPU chips, but pool.accelerator is {seat.accelerator}: use Horovod "
            "or TorchDistributed"
        )
    return _between(seat, meeting, device_of(seat))


def _between(seat: Seat, meeting: "Meeting | None", device: str) -> "Ring":
    """The ring whose members are processes."""
    if meeting is None:
        raise AssertionError(f"a ring of {seat.size} ranks needs a meeting")
    if seat.collective == "TorchDistributed":
        from fedtrainer.ring.torchdist import TorchRing  # noqa: PLC0415 - each library only where it is asked for

        return TorchRing(seat, meeting, device)
    try:
        from fedtrainer.ring.horovod import HorovodRing  # noqa: PLC0415
    except ImportError as error:
        raise CollectiveMissing(
            f"pool.collective is Horovod, but this image has no horovod ({error}): use the trainer image, install the "
            "horovod wheel that images/trainer/horovod_wheel.py builds, or set pool.collective to TorchDistributed"
        ) from error
    return HorovodRing(seat, meeting, device)


def _xla(seat: Seat, meeting: "Meeting | None") -> "Ring":
    """Chips of a slice by XLA, slices by an outer ring with one participant each."""
    slices = seat.size // seat.slice_hosts
    if slices > 1 and seat.collective == "XLA":
        raise CollectiveMissing(
            f"pool.collective is XLA, but the pool has {slices} slices, which XLA does not join: use Horovod or "
            "TorchDistributed"
        )
    os.environ.setdefault("PJRT_DEVICE", "TPU")  # before the import, which would choose the CPU in silence
    try:
        from fedtrainer.ring.xla import XlaRing, between_slices  # noqa: PLC0415
    except ImportError as error:
        raise CollectiveMissing(
            f"pool.accelerator is TPU, but this image has no torch_xla ({error}): use the trainer image's target tpu"
        ) from error
    outer_seat = between_slices(seat)
    if slices == 1 or outer_seat is None:
        return XlaRing(seat, SingleRing("cpu"))
    return XlaRing(seat, _between(outer_seat, meeting, "cpu"))
