"""A site's part in a round whose updates are summed under masks: asks what the hub waits for, says it, asks again. Called by work.py.

The protocol is fedcore.secagg.site; here its state is made durable before anything is said that follows from it, so that a site that
is killed goes on where it was and says the same to the byte. The plain update stays in the order's folder and never leaves it. What
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
from typing import Any, TypeVar

from fedapi.wire import commonorder
from fedapi.wire.orders import TrainOrder
from fedapi.wire.secureround import SecureAnswer, SecureOrder, SecureSaid
from fedapi.wire.update import UPDATE
from fedcore.secagg import site, vector
from fedcore.secagg.errors import RefusedError, SpentKeysError
from fedcore.secagg.site import SiteState
from fedtrainer import termination
from fedtrainer.agent.checkpoint_store import CheckpointStore, Finished, Folder
from fedtrainer.agent.control import Control
from fedtrainer.agent.entrusting import Entrusting
from fedtrainer.agent.handing import Handing, Masked
from fedtrainer.agent.patience import pause_s
from fedtrainer.agent.peers import Peers
from fedtrainer.agent.protecting import Protecting
from fedtrainer.agent.securing_record import MaskedRounds
from fedtrainer.agent.securing_state import STATE_LOST, SecureFiles
from fedtrainer.agent.securing_vector import Values, values
from fedtrainer.agent.signing import site_key
from fedtrainer.errors import BadSettingsError, RejectedError, Terminated
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)

PROTOCOL_BROKEN = "SecureAggregationRefused"  # code of what a site does not go along with
_SEED_BYTES = 32
_SPOILT = ("WrongDigest", "WrongSize")  # of a masked update: made anew it is right
_T = TypeVar("_T")


@dataclass(frozen=True)
class Site:
    """What of a site lasts longer than an order."""

    settings: TrainerSettings
    control: Control
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
        self._folder, self._finished, self._files = folder, finished, SecureFiles(folder.path)
        self._key_folder = own.settings.signing_key_dir
        self._values: Values = values(folder.update, secure)
        self._clipped = self._values.beyond()
        self._known = False  # whether the hub can have heard anything of this state
        self._state = self._begun()

    def go_on(self, *, waits: bool) -> bool:
        """Says what the hub waits for, as long as it waits for something; whether the site's part in the attempt is over.

        `waits`: also while the hub waits for other sites, until it is. RejectedError ends the part, and DroppedError.
        """
        wait_s, last, repeats = self._own.settings.poll_s if waits else 0.0, "", 0
        said: dict[str, Any] = {}
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
        self._files.drop_masked()  # the state stays until another order comes: a hub that was killed may ask for shares again
        log.info("round %d attempt %d: the sum was opened, or goes on without this site", *self._attempt)
        return True

    @property
    def _attempt(self) -> tuple[int, int]:
        return self._order.round, self._order.attempt

    def _asked(self, wait_s: float, said: dict[str, Any]) -> SecureAnswer:
        self._own.checkpoints.touch()
        return self._own.control.secure(
            SecureSaid(round=self._order.round, attempt=self._order.attempt, wait_s=wait_s, **said)
        )

    def _begun(self) -> SiteState:
        """As an earlier process left it, or with a new seed."""
        terms, settings = self._secure.terms, self._own.settings
        about = (terms.job_uid, terms.round, terms.attempt, terms.base_sha256)
        if about != (settings.job_uid, *self._attempt, self._order.base_sha256):
            raise RejectedError(PROTOCOL_BROKEN, "the terms of the secure aggregation are those of another order")
        if terms.scheme is not None:
            raise RejectedError(
                PROTOCOL_BROKEN, f"the order asks for updates by {terms.scheme}, this trainer masks them"
            )
        if terms.groups is not None and self._secure.privacy is not None:
            raise RejectedError(
                PROTOCOL_BROKEN, "the order asks for noise of one sum, and for sums of groups, which have less"
            )
        if terms.order_sha256 != commonorder.of_order(self._order).sha256():
            text = "the terms of the secure aggregation do not say that other sites were ordered the same"
            raise RejectedError(PROTOCOL_BROKEN, f"{text}: model, training, tensors and noise are to be those of all")
        if (kept := self._files.kept(terms)) is not None:
            self._known = True
            return kept
        if self._key_folder is None:
            text = "updates are summed under masks, for which a site signs: give the FLClient spec.identity.keys"
            raise BadSettingsError(text)
        own = {settings.client: site_key(self._key_folder).raw}
        pinned = Peers(settings.peer_keys_dir, self._own.checkpoints.state.folder).pinned(terms.roster, own)
        state = self._checked(lambda: site.start(settings.client, terms, pinned, os.urandom(_SEED_BYTES)))
        self._files.keep(state)
        return state

    def _said(self, answer: SecureAnswer) -> dict[str, Any]:
        """What is said to it: durable, as far as the site has to know it again."""
        if not (self._known or answer.step in ("Advertise", "Wait")):
            raise _lost()
        match answer.step:
            case "Advertise":
                self._known = True
                return {"advertisement": site.advertise(self._state, self._sign), "samples": self._finished.samples}
            case "Share":
                participants = _brought(answer.participants, "participants")
                self._check_weights(participants.whole_samples)
                self._state, shares = site.share(self._state, participants)
                self._files.keep(self._state)
                return {"shares": shares}
            case "Mask":
                self._mask(answer)
            case "Consent":
                survivors = _brought(answer.survivors, "survivors")
                self._state, consent = site.consent(self._state, survivors, self._sign)
                self._files.keep(self._state)
                return {"consent": consent}
            case "Open":
                opening = site.open_(self._state, _brought(answer.request, "request"))
                self._own.rounds.open(self._order)
                return {"opening": opening}
            case _:
                pass
        return {}

    def _mask(self, answer: SecureAnswer) -> None:
        """Hands in the masked update; twice where its file was damaged meanwhile."""
        delivery = _brought(answer.delivery, "delivery")
        self._own.protecting.masked(self._order, self._secure)
        try:
            self._hand_in(self._masked(delivery))
        except RejectedError as error:
            if error.code not in _SPOILT:
                raise
            log.warning("the masked update is damaged (%s): makes it anew", error)
            self._files.drop_masked()
            self._hand_in(self._masked(delivery))

    def _masked(self, delivery: Any) -> Finished:
        """The masked update as a file, and what a manifest says of it."""
        participants = _brought(self._state.participants, "participants")
        weight = vector.weight(self._finished.samples, participants.whole_samples)
        encoded = self._values.encoded(weight, site.noise_key(self._state))
        self._state = site.mask(self._state, delivery, encoded)
        self._files.keep_masked(encoded)
        self._files.keep(self._state)
        sha256 = _brought(self._state.masked_sha256, "masked update")
        if self._clipped:
            fields = {"round": self._order.round, "clipped": self._clipped, "values": self._values.items}
            log.warning("values beyond the range of the sum were clipped", extra={"fields": fields})
        return replace(self._finished, sha256=sha256, size=encoded.nbytes)

    def _hand_in(self, masked: Finished) -> None:
        """The state that the training has staged is from here on that of the masked update, by which the hub names it."""
        update = self._attempt
        if (staged := self._own.checkpoints.state.staged(update, self._finished.sha256)) is not None:
            self._own.checkpoints.state.stage(staged.path, update, masked.sha256, staged.sha256)
        if self._own.entrusting is not None:
            self._own.entrusting.staged(update, masked.sha256)
        self._own.handing.hand_in(self._order, masked, {UPDATE: self._files.masked}, Masked(self._clipped))

    def _check_weights(self, whole_samples: int | None) -> None:
        """Noise is sized for updates that count alike; without it each counts by its samples, and none for more than whole."""
        if self._secure.privacy is not None and whole_samples is not None:
            raise RefusedError("updates with noise of the sites are to count alike, and the hub weighs them by samples")
        if self._secure.privacy is None and whole_samples is not None and whole_samples < self._finished.samples:
            raise RefusedError(
                f"the hub names {whole_samples} samples as the most, this site has {self._finished.samples}"
            )

    def _sign(self, message: bytes) -> bytes:
        return base64.b64decode(site_key(_brought(self._key_folder, "key")).signature(message))

    def _checked(self, act: Callable[[], _T]) -> _T:
        """RejectedError for what breaks the protocol: the state stays, and says the same when it is asked again."""
        try:
            return act()
        except SpentKeysError as error:
            raise RejectedError(STATE_LOST, str(error)) from error
        except RefusedError as error:
            raise RejectedError(PROTOCOL_BROKEN, str(error)) from error


def _brought(value: _T | None, what: str) -> _T:
    if value is None:
        raise RefusedError(f"the answer names a step without its {what}")
    return value
