"""A site's part in a round of whose updates the hub sees the sum alone: asks what the hub waits for, says it, asks again. Called by work.py.

What is said in a step is the exchange's (securing_exchange.py). The plain update stays in the order's folder and never leaves it. What
the hub says is believed as far as the protocol checks it: what breaks it ends the site's part in the attempt, with a report.
"""

import base64
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from fedapi.wire import commonorder
from fedapi.wire.orders import TrainOrder
from fedapi.wire.secureround import SecureAnswer, SecureOrder, SecureSaid
from fedapi.wire.update import UPDATE
from fedcore.secagg import site
from fedcore.secagg.errors import RefusedError, SpentKeysError
from fedtrainer import termination
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.checkpoint_store import CheckpointStore, Finished, Folder
from fedtrainer.agent.control import Control
from fedtrainer.agent.entrusting import Entrusting
from fedtrainer.agent.handing import Handing, Masked
from fedtrainer.agent.patience import pause_s
from fedtrainer.agent.peers import Peers
from fedtrainer.agent.protecting import Protecting
from fedtrainer.agent.securing_exchange import Exchange, Said, SumFile, brought
from fedtrainer.agent.securing_masked import MaskedExchange
from fedtrainer.agent.securing_record import MaskedRounds
from fedtrainer.agent.securing_state import STATE_LOST, SecureFiles
from fedtrainer.agent.securing_vector import Contribution, values
from fedtrainer.agent.signing import site_key
from fedtrainer.errors import BadSettingsError, RejectedError, Terminated
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)

PROTOCOL_BROKEN = "SecureAggregationRefused"  # code of what a site does not go along with
_SEED_BYTES = 32
_SPOILT = ("WrongDigest", "WrongSize")  # of what is handed in
_T = TypeVar("_T")


@dataclass(frozen=True)
class Site:
    """What of a site lasts longer than an order."""

    settings: TrainerSettings
    control: Control
    bulk: Bulk
    handing: Handing
    checkpoints: CheckpointStore
    rounds: MaskedRounds
    protecting: Protecting
    entrusting: Entrusting | None


def check_not_lost(control: Control, order: TrainOrder, folder: Folder) -> None:
    """RejectedError, before the training, where the hub has a part of this site in the exchange that went with the site's disk."""
    if SecureFiles(folder.path).begun():
        return
    answer = control.secure(SecureSaid(round=order.round, attempt=order.attempt, wait_s=0.0))
    if answer.step not in ("Advertise", "Over"):
        raise _lost()


def _lost() -> RejectedError:
    text = "what this site advertised in the attempt went with its disk: a volume in the FLClient's spec.state keeps it"
    return RejectedError(STATE_LOST, f"{text}; it takes part in the next attempt, with new keys")


class Securing:
    """One order's exchange. `finished`: its plain update, in `folder`."""

    def __init__(self, own: Site, order: TrainOrder, secure: SecureOrder, folder: Folder, finished: Finished) -> None:
        self._own, self._order, self._secure = own, order, secure
        self._finished, self._key_folder = finished, own.settings.signing_key_dir
        self._values = values(folder.update, secure)
        self._clipped = self._values.beyond()
        self._check_order()
        self._exchange = self._made(SecureFiles(folder.path), Contribution(self._values, finished.samples))
        self._known = self._exchange.resumed()  # whether the hub can have heard anything of this state
        if not self._known:
            self._begin()

    def go_on(self, *, waits: bool) -> bool:
        """Says what the hub waits for, as long as it waits for something; whether the site's part in the attempt is over.

        `waits`: also while the hub waits for other sites, until it is. RejectedError ends the part, and DroppedError.
        """
        wait_s, last, repeats = self._own.settings.poll_s if waits else 0.0, "", 0
        said: Said = {}
        while (answer := self._asked(wait_s, said)).step != "Over":
            if termination.wanted():
                raise Terminated(signal.SIGTERM)
            if answer.step == "Wait" and not waits:
                return False
            repeats = repeats + 1 if answer.step == last else 0
            last = answer.step
            if repeats and answer.step != "Wait":  # what was said came to nothing: not in a hot loop
                time.sleep(pause_s(repeats))
            said = self._checked(partial(self._said, answer))
        self._exchange.over()
        log.info("round %d attempt %d: the sum was opened, or goes on without this site", *self._attempt)
        return True

    @property
    def _attempt(self) -> tuple[int, int]:
        return self._order.round, self._order.attempt

    def _asked(self, wait_s: float, said: Said) -> SecureAnswer:
        self._own.checkpoints.touch()
        return self._own.control.secure(
            SecureSaid(round=self._order.round, attempt=self._order.attempt, wait_s=wait_s, **said)
        )

    def _check_order(self) -> None:
        """RejectedError for terms that are not of this order, or that no honest hub asks for."""
        terms = self._secure.terms
        about = (terms.job_uid, terms.round, terms.attempt, terms.base_sha256)
        if about != (self._own.settings.job_uid, *self._attempt, self._order.base_sha256):
            raise RejectedError(PROTOCOL_BROKEN, "the terms of the sum are those of another order")
        if terms.groups is not None and self._secure.privacy is not None:
            raise RejectedError(
                PROTOCOL_BROKEN, "the order asks for noise of one sum, and for sums of groups, which have less"
            )
        if terms.order_sha256 != commonorder.of_order(self._order).sha256():
            text = "the terms of the sum do not say that other sites were ordered the same"
            raise RejectedError(PROTOCOL_BROKEN, f"{text}: model, training, tensors and noise are to be those of all")

    def _made(self, files: SecureFiles, contribution: Contribution) -> Exchange:
        if self._secure.terms.scheme is None:
            return MaskedExchange(files, contribution)
        try:
            from fedtrainer.agent.securing_encrypted import EncryptedExchange  # noqa: PLC0415 - an extra of its own
        except ImportError as error:
            text = f"privacy.homomorphicEncryption needs the package tenseal, which this image lacks ({error})"
            raise BadSettingsError(f"{text}: build it FROM Fedloom's trainer, or with fedloom[he]") from error
        return EncryptedExchange(files, contribution, self._own.bulk.download)

    def _begin(self) -> None:
        """With a new seed, among sites whose keys are known."""
        terms, settings = self._secure.terms, self._own.settings
        if self._key_folder is None:
            text = "updates are masked or encrypted, for which a site signs: give the FLClient spec.identity.keys"
            raise BadSettingsError(text)
        own = {settings.client: site_key(self._key_folder).raw}
        pinned = Peers(settings.peer_keys_dir, self._own.checkpoints.state.folder).pinned(terms.roster, own)
        state = self._checked(lambda: site.start(settings.client, terms, pinned, os.urandom(_SEED_BYTES)))
        self._exchange.begin(state)

    def _said(self, answer: SecureAnswer) -> Said:
        """What is said to it."""
        if not (self._known or answer.step in ("Advertise", "Wait")):
            raise _lost()
        match answer.step:
            case "Advertise":
                self._known = True
                return {"advertisement": self._exchange.advertise(self._sign), "samples": self._finished.samples}
            case "Share":
                return self._exchange.share(answer)
            case "Mask":
                self._hand_in(answer)
            case "Consent":
                return {"consent": self._exchange.consent(brought(answer.survivors, "survivors"), self._sign)}
            case "Open":
                opened = self._exchange.open_(answer)
                self._own.rounds.open(self._order)
                if (file := opened.file) is not None:
                    self._own.handing.put(self._order, file.path, file.sha256, file.size)
                return opened.said
            case _:
                pass
        return {}

    def _hand_in(self, answer: SecureAnswer) -> None:
        """What stands for the update; twice where its file was damaged meanwhile."""
        self._own.protecting.masked(self._order, self._secure)
        try:
            self._send(self._exchange.vector(answer))
        except RejectedError as error:
            if error.code not in _SPOILT:
                raise
            log.warning("what stands for the update came to the hub damaged (%s): once more", error)
            self._exchange.void()
            self._send(self._exchange.vector(answer))

    def _send(self, file: SumFile) -> None:
        """The state that the training has staged is from here on that of this file, by which the hub names it."""
        if self._clipped:
            fields = {"round": self._order.round, "clipped": self._clipped, "values": self._values.items}
            log.warning("values beyond the range of the sum were clipped", extra={"fields": fields})
        update, sha256 = self._attempt, self._finished.sha256
        if (staged := self._own.checkpoints.state.staged(update, sha256)) is not None:
            self._own.checkpoints.state.stage(staged.path, update, file.sha256, staged.sha256)
        if self._own.entrusting is not None:
            self._own.entrusting.staged(update, file.sha256)
        sent = replace(self._finished, sha256=file.sha256, size=file.size)
        self._own.handing.hand_in(self._order, sent, {UPDATE: file.path}, Masked(self._clipped, file.tag))

    def _sign(self, message: bytes) -> bytes:
        return base64.b64decode(site_key(brought(self._key_folder, "key")).signature(message))

    def _checked(self, act: Callable[[], _T]) -> _T:
        """RejectedError for what breaks the protocol: the state stays, and says the same when it is asked again."""
        try:
            return act()
        except SpentKeysError as error:
            raise RejectedError(STATE_LOST, str(error)) from error
        except RefusedError as error:
            raise RejectedError(PROTOCOL_BROKEN, str(error)) from error
