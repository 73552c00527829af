"""What rank 0 tells the other ranks of its site: the same Session calls as its own. Used by work.py and follow.py.

Messages are JSON over the rendezvous, which signs them. A site of one rank has no rendezvous and tells nobody.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.message import Message
from fedapi.wire.training import TrainingSettings
from fedtrainer.errors import RingBrokenError
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.releases import Protection
from fedtrainer.training.results import Data, EvalResult

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption
    from fedtrainer.ring.port import Ring
    from fedtrainer.ring.rendezvous import Rendezvous
    from fedtrainer.training.session import Session
    from fedtrainer.training.state_files import OrderState
    from fedtrainer.training.writing import Trained


class Load(Message):
    """Take the model that rank 0 sends, and the data of a round."""

    kind: Literal["Load"] = "Load"
    round: int
    training: TrainingSettings


class Evaluate(Message):
    """Session.evaluate."""

    kind: Literal["Evaluate"] = "Evaluate"
    round: int
    training: TrainingSettings


class Train(Message):
    """Session.train."""

    kind: Literal["Train"] = "Train"
    round: int
    training: TrainingSettings


class Done(Message):
    """The site has finished: exit 0."""

    kind: Literal["Done"] = "Done"


class Regroup(Message):
    """Workers wait to be taken in: leave, so that the next generation has them."""

    kind: Literal["Regroup"] = "Regroup"


Order = Load | Evaluate | Train | Done | Regroup
_ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])


def heard(rendezvous: "Rendezvous") -> Order:
    """The next order; blocks as long as rank 0 has none."""
    text = rendezvous.hear()
    try:
        return _ORDER.validate_json(text)
    except ValidationError as error:
        raise RingBrokenError(
            f"rank 0 says {text[:100]!r}, which this rank does not understand: use one image"
        ) from error


def gathered(settings: TrainerSettings, slot: Slot) -> "tuple[Rendezvous | None, Ring, Session]":
    """Joins the ring and loads the task. Slow: torch is imported here."""
    from fedtrainer.ring.join import join  # noqa: PLC0415
    from fedtrainer.ring.rendezvous import Rendezvous, ring_key  # noqa: PLC0415
    from fedtrainer.training.session import Session, Spec  # noqa: PLC0415

    rendezvous = None
    if slot.size > 1:
        key = ring_key(settings.token().get_secret_value())
        # Rank 0 comes here only after the aggregator has answered, for which it may wait as long as its patience is.
        rendezvous = Rendezvous.open(slot, key, settings.patience_s + slot.timeout_s)
    ring = join(slot, rendezvous)
    s = settings
    spec = Spec(s.entrypoint, s.task_args, s.seed, s.threads, s.client, s.data_dir, slot.worker)
    return rendezvous, ring, Session(spec, ring)


def parted(rendezvous: "Rendezvous | None", ring: "Ring") -> None:
    """Leaves the ring, once all ranks have come here."""
    from fedtrainer.ring.operations import barrier  # noqa: PLC0415 - loads torch

    barrier(ring)
    ring.close()
    if rendezvous is not None:
        rendezvous.close()


class RankGroup:
    """All ranks of the site, as rank 0 leads them: each call is made by every rank."""

    def __init__(self, rendezvous: "Rendezvous | None", ring: "Ring", session: "Session") -> None:
        self._rendezvous, self._ring, self._session = rendezvous, ring, session

    def load(
        self,
        path: Path,
        round_: int,
        state: "OrderState",
        training: TrainingSettings,
        hub_state: Path | None = None,
        initial: Path | None = None,
        encoding: Encoding | None = None,
    ) -> Data:
        """The model of a file, over that of another where it is not whole; the site's state and the hub's; the data of a round."""
        self._tell(Load(round=round_, training=training))
        self._session.load(path, state, hub_state, initial, training, encoding)
        return self._session.data(round_)

    def evaluate(
        self, data: Data, round_: int, training: TrainingSettings, stopped: Callable[[], bool]
    ) -> EvalResult | None:
        """Session.evaluate."""
        self._tell(Evaluate(round=round_, training=training))
        return self._session.evaluate(data, round_, training, stopped)

    def train(
        self,
        data: Data,
        round_: int,
        training: TrainingSettings,
        folder: Path,
        stopped: Callable[[], bool],
        keep: "Callable[[Trained], object]",
        encryption: "Mapping[str, Encryption]",
        compression: Compression | None,
        protection: Protection | None,
    ) -> "Trained":
        """Session.train. Rank 0 alone writes, protects, encodes and encrypts what is sent."""
        self._tell(Train(round=round_, training=training))
        return self._session.train(data, round_, training, folder, stopped, keep, encryption, compression, protection)

    def done(self) -> None:
        """Lets everybody go. Returns when all have heard it."""
        self._tell(Done())
        parted(self._rendezvous, self._ring)

    def regroup(self) -> None:
        """Ends this generation at every rank."""
        self._tell(Regroup())
        raise RingBrokenError("the ring makes room for workers that wait")

    def _tell(self, order: Order) -> None:
        if self._rendezvous is not None:
            self._rendezvous.tell(order.model_dump_json())
