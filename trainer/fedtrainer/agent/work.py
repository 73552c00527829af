"""Rank 0's main loop: ask, do, deliver, ask again. Called by __main__.

What an answer of the aggregator means is decided here; how it is asked is in control.py and bulk.py, how the other
ranks of the site take part is in rank_group.py, what training is in fedtrainer.training, which is imported after the first
answer because torch is slow to load.
"""

import logging
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from fedapi.wire.compression import codec
from fedapi.wire.download import Download
from fedapi.wire.orders import EvaluateOrder, TrainOrder
from fedapi.wire.secureround import SecureOrder
from fedapi.wire.site import Assignment
from fedapi.wire.update import UPDATE
from fedtrainer import termination
from fedtrainer.agent import connecting, encrypting
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.checkpoint_store import CheckpointStore, Finished, Folder, is_whole, new_nonce
from fedtrainer.agent.control import Control
from fedtrainer.agent.entrusting import Entrusting
from fedtrainer.agent.guard import Guard
from fedtrainer.agent.handing import Handing
from fedtrainer.agent.heartbeat import Beating
from fedtrainer.agent.link import Link
from fedtrainer.agent.models import Models
from fedtrainer.agent.patience import Patience
from fedtrainer.agent.protecting import Protecting
from fedtrainer.agent.rank_group import RankGroup, gathered
from fedtrainer.agent.repeating import Repeating
from fedtrainer.agent.reporting import Reporting
from fedtrainer.agent.securing_record import MaskedRounds
from fedtrainer.agent.stream import Stream
from fedtrainer.agent.trust import Trust
from fedtrainer.agent.watch import Watch
from fedtrainer.errors import (
    BudgetSpentError,
    DivergedError,
    DroppedError,
    LinkExpiredError,
    NotPrivateError,
    RejectedError,
    SkipError,
    StopError,
    Terminated,
)
from fedtrainer.heartbeat_settings import HeartbeatSettings
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.results import Data
from fedtrainer.training.state_files import Committed, OrderState, Update

if TYPE_CHECKING:
    from fedtrainer.training.writing import Trained

log = logging.getLogger(__name__)

DAMAGED = ("WrongDigest", "WrongSize", "Malformed")  # of a kept file: train again instead of giving up


def run(settings: TrainerSettings, slot: Slot) -> None:
    """Works until the aggregator says Done, or for one order. Raises StopError when the process cannot go on."""
    trust = Trust(settings)
    with (
        Beating(HeartbeatSettings.told()),
        closing(Link(settings.aggregator_url, trust.hub)) as link,
        closing(Stream(trust)) as stream,
        connecting.transport(settings, link) as transport,
    ):
        bulk = Bulk(stream, Patience(settings.patience_s))
        control = Control(transport, settings)
        with closing(CheckpointStore(settings)) as checkpoints:
            Agent(settings, slot, control, bulk, checkpoints).run()


class Agent:
    """One site's conversation with the aggregator."""

    def __init__(
        self, settings: TrainerSettings, slot: Slot, control: Control, bulk: Bulk, checkpoints: CheckpointStore
    ) -> None:
        self._settings, self._slot = settings, slot
        self._control, self._bulk = control, bulk
        self._checkpoints = checkpoints
        self._found: RankGroup | None = None
        self._handing = Handing(settings, control, bulk)
        folder = settings.state_key_dir
        self._entrusting = Entrusting(settings, folder, control, bulk, checkpoints.state) if folder else None
        self._protecting = Protecting(settings, checkpoints.state.folder)
        self._masked_rounds = MaskedRounds(checkpoints.state.folder)
        self._why_lost = ""  # of the state of that update, where it is lost
        self._committed: Committed | None = None  # the site's update that was committed last
        self._accepted: Update | None = None  # the one that was accepted last, where that is in no commit
        self._taken_back = False  # whether the job went back to before the site's first
        self._reporting, self._repeating = Reporting(settings, control), Repeating(settings.patience_s)
        self._models, self._guard = Models(bulk, checkpoints), Guard(settings, self._reporting.failed)

    def run(self) -> None:
        """Says hello first, then loads the task, so that the aggregator counts the site while torch is imported."""
        answer = self._control.next(0.0)
        while answer.kind != "Done":
            self._checkpoints.touch()
            self._settle(answer)
            group = self._group(answer.train)
            if self._act(answer, waits=True) and self._settings.lifetime == "Round":
                break
            if termination.wanted():
                raise Terminated(signal.SIGTERM)
            if termination.regroup_wanted():
                group.regroup()
            answer = self._control.next(self._settings.poll_s)
            if answer.kind in ("Wait", "Drop") and self._settings.lifetime == "Round":
                break  # the plan was there before this Job: an earlier pod has delivered, or the round is over
        self._finish(answer)

    def serve(self, answer: Assignment) -> bool:
        """Does what one answer says, where the process serves other sites too; whether this site has finished."""
        self._settle(answer)
        if answer.kind in ("Train", "Evaluate"):
            self._group(answer.train)
        came_to_an_end = self._act(answer, waits=False) or answer.kind in ("Wait", "Drop")
        finished = answer.kind == "Done" or (self._settings.lifetime == "Round" and came_to_an_end)
        if finished:
            self._finish(answer)
        return finished

    def _settle(self, answer: Assignment) -> None:
        """What the answer says of the site's state. An order, or the end, says that all other updates are void."""
        self._committed = Committed(answer.committed, answer.committed_sha256) if answer.committed else None
        self._accepted, self._taken_back = answer.accepted, answer.taken_back
        self._checkpoints.state.promote(self._committed)
        if answer.train is not None:
            self._checkpoints.state.discard((answer.train.round, answer.train.attempt))
        elif answer.kind == "Done":
            self._checkpoints.state.discard(None)
        if self._entrusting is not None and answer.kind != "Done":  # the hub may be gone then
            self._why_lost = self._entrusting.settle(self._committed)

    def _finish(self, answer: Assignment) -> None:
        """Lets the other ranks go, and leaves nothing on the state volume that nobody will need."""
        self._settle(answer)
        if self._slot.size > 1 or self._found is not None:
            self._group().done()
        if answer.kind == "Done":
            log.info("done: %s", answer.message or "the job is over")
            self._checkpoints.clear()
        else:
            log.info("done: this Job lives for one round")
            self._checkpoints.leave(self._models.kept)

    def _group(self, order: TrainOrder | None = None) -> RankGroup:
        """The ranks; the first call loads torch and the task, and a failure is reported for `order`."""
        if self._found is None:
            try:
                self._found = RankGroup(*gathered(self._settings, self._slot))
            except StopError as error:
                self._reporting.stopped(order, error)
                raise
        return self._found

    def _act(self, answer: Assignment, *, waits: bool) -> bool:
        """Whether an order came to its end: delivered, dropped or refused. `waits`: also for other sites, if it needs them."""
        self._guard.check(answer)
        if answer.train is not None and answer.kind == "Train":
            self._repeating.pause(f"train {answer.train.round} {answer.train.attempt}")
            return self._train(answer.train, waits=waits)
        if answer.evaluate is not None and answer.kind == "Evaluate":
            self._repeating.pause(f"evaluate {answer.evaluate.round}")
            return self._evaluate(answer.evaluate)
        return False

    def _train(self, order: TrainOrder, *, waits: bool) -> bool:
        folder = self._checkpoints.order(order)
        try:
            self._masked_rounds.check(order)
            self._protecting.check(order, self._committed, self._accepted)
            if order.secure is not None:
                return self._secured(order, order.secure, folder, waits=waits)
            self._deliver(order, folder)
        except LinkExpiredError as error:
            if self._repeating.is_lost(error):
                self._reporting.failed(order, "UpdateRefused", RejectedError("Missing", str(error)))
                return True
            log.info("round %d: %s; asks for a new order", order.round, error)
            return False
        except DroppedError as error:
            log.info("round %d attempt %d dropped: %s", order.round, order.attempt, error)
            folder.discard()
        except (BudgetSpentError, DivergedError, NotPrivateError, RejectedError) as error:
            folder.discard()
            self._reporting.came_to_nothing(order, error)
        except StopError as error:
            self._reporting.stopped(order, error)
            raise
        return True

    def _deliver(self, order: TrainOrder, folder: Folder) -> None:
        """Evaluates, trains and hands in; an update that an earlier process finished is handed in as it is."""
        finished = folder.finished()
        if finished is not None and finished.fits(order):
            log.info("round %d: hands in the update of an earlier process", order.round)
            try:
                self._hand_in(order, folder, finished)
            except RejectedError as error:
                if error.code not in DAMAGED:
                    raise
                log.warning("the kept update is damaged (%s): trains again", error)
                folder.finished_void()
            else:
                return
        self._hand_in(order, folder, self._trained(order, folder))

    def _secured(self, order: TrainOrder, secure: SecureOrder, folder: Folder, *, waits: bool) -> bool:
        """Trains, and takes part in a sum that the hub cannot take apart. What an earlier process trained must be whole: nobody else can see it."""
        from fedtrainer.agent.securing import Securing, Site, check_not_lost  # noqa: PLC0415 - 7 MB where nothing is summed so

        finished = folder.finished()
        if finished is None or not is_whole(folder.update, finished.sha256):
            with self._leaving(order):
                check_not_lost(self._control, order, folder)
            finished = self._trained(order, folder)
        own = Site(
            self._settings,
            self._control,
            self._bulk,
            self._handing,
            self._checkpoints,
            self._masked_rounds,
            self._protecting,
            self._entrusting,
        )
        with self._leaving(order):
            return Securing(own, order, secure, folder, finished).go_on(waits=waits)

    @contextmanager
    def _leaving(self, order: TrainOrder) -> Iterator[None]:
        """A site whose part in an exchange ends without a sum joins that attempt no more."""
        try:
            yield
        except (RejectedError, DroppedError, NotPrivateError):
            self._masked_rounds.leave(order)
            raise

    def _trained(self, order: TrainOrder, folder: Folder) -> Finished:
        protection = self._protecting.protection(order)
        data = self._loaded(order, (order.round, order.attempt), order.hub_state)
        group, nonce, encryption = self._group(), new_nonce(), encrypting.encryption(order, self._settings)
        kept: list[Finished] = []

        def keep(trained: "Trained") -> Finished:
            file = trained.file
            finished = Finished(
                file.sha256,
                file.size,
                trained.samples,
                trained.metrics,
                trained.training_s,
                nonce,
                trained.steps,
                order.encryption.kem if order.encryption else None,
                {name: (beside.sha256, beside.size) for name, beside in trained.beside.items()},
                codec(order.compression),
                protection.noise.noise_multiplier if protection else None,
                trained.privacy.model_dump() if trained.privacy else None,
            )
            if kept[-1:] != [finished]:  # the evaluation that follows a training has mostly nothing to add
                folder.finish(finished)
                kept.append(finished)
            return finished

        with Watch(self._control, order, self._checkpoints.touch) as watch:
            if order.evaluate:
                result = group.evaluate(data, order.round - 1, order.training, watch.dropped)
                self._reporting.evaluated(order.round - 1, order.base_sha256, result)
            with termination.deferred():  # a training that ends just now is kept as finished
                trained = group.train(
                    data,
                    order.round,
                    order.training,
                    folder.path,
                    watch.dropped,
                    keep,
                    encryption,
                    order.compression,
                    protection,
                )
                return keep(trained)

    def _hand_in(self, order: TrainOrder, folder: Folder, finished: Finished) -> None:
        if self._entrusting is not None:
            self._entrusting.staged((order.round, order.attempt), finished.sha256)
        self._handing.hand_in(order, finished, {name: folder.payload(name) for name in (UPDATE, *finished.beside)})
        folder.discard()

    def _evaluate(self, order: EvaluateOrder) -> bool:
        try:
            data = self._loaded(order)
            result = self._group().evaluate(data, order.round, order.training, lambda: False)
            self._reporting.evaluated(order.round, order.model.sha256, result)
        except LinkExpiredError as error:
            if self._repeating.is_lost(error):
                self._reporting.failed(order, "EvaluationRefused", RejectedError("Missing", str(error)))
                return True
            log.info("evaluation of round %d: %s; asks for a new order", order.round, error)
            return False
        except SkipError as error:
            log.warning("evaluation of round %d: %s", order.round, error)
            if isinstance(error, RejectedError):  # the model's bytes are wrong: the hub looks at them
                self._reporting.failed(order, "EvaluationRefused", error)
        return True

    def _loaded(
        self, order: TrainOrder | EvaluateOrder, update: Update | None = None, hub_state: Download | None = None
    ) -> Data:
        """Every rank has the model of an order, the site's state and the hub's; its data of the round."""
        path, initial = self._models.of(order)
        of_hub = None if hub_state is None else self._checkpoints.hub_state(hub_state.sha256)
        if hub_state is not None and of_hub is not None:
            self._bulk.download(hub_state, of_hub, "the strategy's state at the hub")
        own = OrderState(
            self._checkpoints.state, self._committed, update, self._why_lost, self._taken_back, self._accepted
        )
        encoded = order.encoded.encoding if isinstance(order, TrainOrder) and order.encoded else None
        return self._group().load(path, order.round, own, order.training, of_hub, initial, encoded)
