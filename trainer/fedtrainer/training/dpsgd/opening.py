"""Whether a training is one by DP-SGD. Called by session.py for each; Opacus is loaded where one is, and nowhere else."""

from typing import TYPE_CHECKING

from fedapi.wire.privacy import DPSGD
from fedtrainer.errors import BadSettingsError
from fedtrainer.ring.port import Ring
from fedtrainer.training.state_files import OrderState

if TYPE_CHECKING:
    from fedtrainer.training.dpsgd.private import PrivateTraining


def opened(asked: DPSGD | None, ring: Ring, round_: int, order: OrderState | None) -> "PrivateTraining | None":
    """What a training of that round asks; None: records are not hidden. BadSettingsError where Opacus is missing."""
    if asked is None:
        return None
    try:
        from fedtrainer.training.dpsgd.private import PrivateTraining  # noqa: PLC0415
    except ImportError as error:
        text = f"privacy.dpSGD needs the package opacus, which this image lacks ({error})"
        raise BadSettingsError(f"{text}: build it FROM Fedloom's trainer, or with fedloom[dpsgd]") from error
    return PrivateTraining(asked, ring, round_, order)
