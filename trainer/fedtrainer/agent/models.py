"""The models that orders name, as files of this process: fetched and verified, the initial one once. Called by work.py.

Where fragments take turns (fedcore.tensors.fragments) the process remembers which model it has, so that of the next one what has
changed is fetched alone (changed_model.py). Where deltas come (model_delta.py) the last model's file says by its name which it is,
so that a later process finds it.
"""

import logging
from functools import partial
from pathlib import Path

from fedapi.wire.download import Download
from fedapi.wire.orders import EvaluateOrder, TrainOrder
from fedtrainer.agent import changed_model, model_delta
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.changed_model import Earlier
from fedtrainer.agent.checkpoint_store import CheckpointStore, is_whole

log = logging.getLogger(__name__)


class Models:
    """Of one site."""

    def __init__(self, bulk: Bulk, checkpoints: CheckpointStore) -> None:
        self._bulk, self._checkpoints = bulk, checkpoints
        self._whole: Path | None = None  # an initial model that this process has found whole
        self.kept: Path | None = None  # the model to which the next may come as a delta
        self._earlier: Earlier | None = None  # a model that is here, where fragments take turns

    def of(self, order: TrainOrder | EvaluateOrder) -> tuple[Path, Path | None]:
        """The model of an order, and the initial one that it is put over, where it is not whole."""
        initial = None if order.initial is None else self._initial(order.initial)
        count = self._fragments(order)
        round_ = order.round - 1 if isinstance(order, TrainOrder) else order.round
        if initial is not None and order.initial is not None and order.model.sha256 == order.initial.sha256:
            path = initial
        else:
            path = self._followed(order) or self._fetched(order.model, round_)
        self.kept = path if isinstance(order, TrainOrder) and order.reference is not None else None
        self._earlier = None if count is None else Earlier(path, round_, count)
        return path, initial

    def _fragments(self, order: TrainOrder | EvaluateOrder) -> int | None:
        """How many take turns; an order to evaluate does not say it, and so is as the one before."""
        if isinstance(order, EvaluateOrder):
            return self._earlier.fragments if self._earlier else None
        return order.training.method.fragments if order.training.method else None

    def _followed(self, order: TrainOrder | EvaluateOrder) -> Path | None:
        """The model, where it is here already, or came as a delta to one that is."""
        if isinstance(order, EvaluateOrder) or order.reference is None:
            return None
        path, delta = self._checkpoints.next_model(order.model.sha256), order.reference.delta
        there = is_whole(path, order.model.sha256)
        if not there and (
            delta is None
            or not model_delta.fetched(order.model, delta, path, self._before(order, delta.of_sha256), self._delta)
        ):
            return None
        return self._checkpoints.model(order.model.sha256)  # the others go

    def _before(self, order: TrainOrder, sha256: str) -> Path | None:
        """Where the model is to which a delta came: the initial one may be it."""
        is_initial = order.initial is not None and order.initial.sha256 == sha256
        return self._checkpoints.initial(sha256) if is_initial else self._checkpoints.next_model(sha256)

    def _delta(self, what: Download, path: Path) -> None:
        self._bulk.download(what, path, "the model's delta")

    def _fetched(self, model: Download, round_: int) -> Path:
        path, earlier = self._checkpoints.next_model(model.sha256), self._earlier
        # Whatever comes of it, the next order asks for the whole: a server, or a proxy before it, may refuse ranges.
        self._earlier = None
        made = earlier and changed_model.fetched(model, path, earlier, round_, partial(self._bulk.fill, model))
        self._checkpoints.model(model.sha256)  # the others go
        if not made:
            self._bulk.download(model, path)
        return path

    def _initial(self, initial: Download) -> Path:
        """The initial model, which is fetched once: an earlier process has left it, or an earlier order."""
        path = self._checkpoints.initial(initial.sha256)
        if path != self._whole:
            if not is_whole(path, initial.sha256):
                partly = path.with_suffix(".partial")
                self._bulk.download(initial, partly, "the initial model")
                partly.replace(path)
                log.info("fetched the initial model, %d bytes, once for all rounds", initial.size)
            self._whole = path
        return path
