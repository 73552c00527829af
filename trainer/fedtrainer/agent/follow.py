"""The other ranks of a site: they do what rank 0 tells them, with the same Session. Called by __main__.

No aggregator, no state volume here: the model, checkpoints and orders come from rank 0.
"""

import logging
import signal
from typing import TYPE_CHECKING

from fedtrainer import termination
from fedtrainer.agent.rank_group import Done, Evaluate, Load, Order, Regroup, Train, gathered, heard, parted
from fedtrainer.errors import RingBrokenError, SkipError, Terminated
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.results import Data

if TYPE_CHECKING:
    from fedtrainer.training.session import Session

log = logging.getLogger(__name__)


def run(settings: TrainerSettings, slot: Slot) -> None:
    """Follows until rank 0 says Done. Raises Stop when the process cannot go on, RingBrokenError when rank 0 is gone."""
    rendezvous, ring, session = gathered(settings, slot)
    if rendezvous is None:
        raise AssertionError("a site of one rank has no followers")
    follower = Follower(session)
    while not isinstance(order := heard(rendezvous), Done):
        follower.act(order)
    log.info("done")
    parted(rendezvous, ring)


class Follower:
    """Keeps the data between the orders of a round."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._data = Data(None)

    def act(self, order: Order) -> None:
        """Does what rank 0 does. A round that came to nothing is over for all ranks alike."""
        try:
            self._act(order)
        except SkipError as error:
            log.info("%s: %s", order.kind, error)
        if termination.wanted():
            raise Terminated(signal.SIGTERM)

    def _act(self, order: Order) -> None:
        match order:
            case Load():
                self._session.load(None, training=order.training)
                self._data = self._session.data(order.round)
            case Evaluate():
                self._session.evaluate(self._data, order.round, order.training, _never)
            case Train():
                self._session.train(self._data, order.round, order.training, None, _never)
            case Regroup():
                raise RingBrokenError("the ring makes room for workers that wait")


def _never() -> bool:
    """Only rank 0 hears from the aggregator."""
    return False
