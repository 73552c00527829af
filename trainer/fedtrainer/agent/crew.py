"""What rank 0 tells the other ranks of its site: the same Session calls as its own. Used by work.py and follow.py.

Messages are JSON over the meeting, which signs them. A site of one rank has no meeting and tells nobody.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from fedapi.wire.job import TrainingSettings
from fedapi.wire.message import Message
from fedtrainer.errors import RingBroken
from fedtrainer.ring.seat import Seat
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.task import Data, EvalResult

if TYPE_CHECKING:
    from fedtrainer.ring.meeting import Meeting
    from fedtrainer.ring.port import Ring
    from fedtrainer.training.session import Session, Trained


class Load(Message):
    """Take the model that rank 0 sends, and the data of a round."""

    kind: Literal["Load"] = "Load"
    round: int


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


def heard(meeting: "Meeting") -> Order:
    """The next order; blocks as long as rank 0 has none."""
    text = meeting.hear()
    try:
        return _ORDER.validate_json(text)
    except ValidationError as error:
        raise RingBroken(f"rank 0 says {text[:100]!r}, which this rank does not understand: use one image") from error


def gathered(settings: TrainerSettings, seat: Seat) -> "tuple[Meeting | None, Ring, Session]":
    """Joins the ring and loads the task. Slow: torch is imported here."""
    from fedtrainer.ring.join import join  # noqa: PLC0415
    from fedtrainer.ring.meeting import Meeting, ring_key  # noqa: PLC0415
    from fedtrainer.training.session import Session, Spec  # noqa: PLC0415

    meeting = None
    if seat.size > 1:
        key = ring_key(settings.token().get_secret_value())
        # Rank 0 comes here only after the aggregator has answered, for which it may wait as long as its patience is.
        meeting = Meeting.open(seat, key, settings.patience_s + seat.timeout_s)
    ring = join(seat, meeting)
    s = settings
    spec = Spec(s.entrypoint, s.task_args, s.seed, s.threads, s.client, s.data_dir, seat.worker)
    return meeting, ring, Session(spec, ring)


class Crew:
    """All ranks of the site, as rank 0 leads them: each call is made by every rank."""

    def __init__(self, meeting: "Meeting | None", ring: "Ring", session: "Session") -> None:
        self._meeting, self._ring, self._session = meeting, ring, session

    def load(self, path: Path, round_: int) -> Data:
        """The model of a file and the data of a round."""
        self._tell(Load(round=round_))
        self._session.load(path)
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
    ) -> "Trained":
        """Session.train."""
        self._tell(Train(round=round_, training=training))
        return self._session.train(data, round_, training, folder, stopped, keep)

    def done(self) -> None:
        """Lets everybody go. Returns when all have heard it."""
        self._tell(Done())
        self._ring.barrier()
        self._leave()

    def regroup(self) -> None:
        """Ends this generation at every rank."""
        self._tell(Regroup())
        raise RingBroken("the ring makes room for workers that wait")

    def _leave(self) -> None:
        self._ring.close()
        if self._meeting is not None:
            self._meeting.close()

    def _tell(self, order: Order) -> None:
        if self._meeting is not None:
            self._meeting.tell(order.model_dump_json())
