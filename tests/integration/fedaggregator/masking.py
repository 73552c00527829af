"""Scripted sites whose updates are summed under masks: the protocol step by step, over real HTTPS. Used by integration and chaos tests."""

import base64
import hashlib
from pathlib import Path

import httpx
from safetensors.numpy import load, save

from fedapi.wire.orders import TrainOrder
from fedapi.wire.secureround import SecureAnswer, SecureSaid, SecureSettings
from fedapi.wire.signing import SigningKey, signed_secure
from fedapi.wire.update import Payload
from fedcore.secagg import site, vector
from fedcore.secagg.site import SiteState
from fedtrainer.agent.securing_vector import values
from tests.integration.fedaggregator.harness import JobFolder
from tests.integration.fedaggregator.signing import SigningSite, key, public

STEPS = ("Advertise", "Share", "Mask", "Consent", "Open")


def keys(*clients: str) -> dict[str, SigningKey]:
    """One for each."""
    return {client: key(10 + number) for number, client in enumerate(clients)}


def masked(*clients: str, exchange_timeout_s: float = 600.0, **job) -> dict:
    """What the configuration of such a job says beside its roster."""
    secure = SecureSettings(value_range=8.0, exchange_timeout_s=exchange_timeout_s)
    return {"identities": {name: (public(own),) for name, own in keys(*clients).items()}, "secure": secure, **job}


class MaskingSite(SigningSite):
    """It keeps what a site keeps on its disk: what was trained, and its state of each attempt."""

    def __init__(self, job: JobFolder, client: str, own: SigningKey, **said) -> None:
        super().__init__(job, client, own, **said)
        self.states: dict[tuple[int, int], SiteState] = {}
        self.updates: dict[tuple[int, int], Path] = {}
        self.told: list[tuple[int, int, str]] = []  # what it was answered, by round and attempt

    def asked(self, order: TrainOrder, wait_s: float = 0.0, **said) -> httpx.Response:
        """The answer to a question for the next step; `said`: what is said to the last."""
        message = SecureSaid(round=order.round, attempt=order.attempt, wait_s=wait_s, **said)
        response = self.post("secure", signed_secure(self.key, self.job.config.uid, self.client, message))
        response.raise_for_status()
        self.told.append((order.round, order.attempt, SecureAnswer.told(response.content).step))
        return response

    def take_part(self, order: TrainOrder) -> httpx.Response:
        """Until its part in the attempt is over; the last answer."""
        response = self.asked(order)
        while (answer := SecureAnswer.told(response.content)).step != "Over":
            response = self.go_on(order, answer, wait_s=5.0)
        return response

    def go_on(self, order: TrainOrder, answer: SecureAnswer, wait_s: float = 0.0) -> httpx.Response:
        """Does what it is told, if anything, and asks what is next."""
        return self.asked(order, wait_s, **self._said(order, answer))

    def _said(self, order: TrainOrder, answer: SecureAnswer) -> dict:
        where = order.round, order.attempt
        state = self.states.get(where) or site.start(
            self.client,
            order.secure.terms,
            order.secure.terms.roster,
            hashlib.sha256(repr((self.client, where)).encode()).digest(),
        )
        said = {}
        match answer.step:
            case "Advertise":
                self._train(order)
                said = {"advertisement": site.advertise(state, self._sign), "samples": self.samples}
            case "Share":
                state, shares = site.share(state, answer.participants)
                said = {"shares": shares}
            case "Mask":
                weight = vector.weight(self.samples, state.participants.whole_samples)
                encoded = values(self.updates[where], order.secure).encoded(weight, site.noise_key(state))
                state = site.mask(state, answer.delivery, encoded)
                self.states[where] = state  # before the hub has it, as the trainer does
                self.upload(order, encoded.tobytes()).raise_for_status()
            case "Consent":
                state, consent = site.consent(state, answer.survivors, self._sign)
                said = {"consent": consent}
            case "Open":
                said = {"opening": site.open_(state, answer.request)}
        self.states[where] = state
        return said

    def _train(self, order: TrainOrder) -> None:
        where = order.round, order.attempt
        if where not in self.updates:
            update = self.train_function(load(self.download(order.model)), self.client, order)
            self.updates[where] = self.job.root / f"{self.client}-{order.round}-{order.attempt}.safetensors"
            self.updates[where].write_bytes(save(update))
            self.trained.append(where)

    def payload(self, order: TrainOrder, sent) -> Payload:
        return super().payload(order, sent).model_copy(update={"masked": True})

    def _sign(self, message: bytes) -> bytes:
        return base64.b64decode(self.key.signature(message))


def masking_sites(job: JobFolder) -> list[MaskingSite]:
    """Those of its roster."""
    own = keys(*(entry.name for entry in job.config.roster))
    return [MaskingSite(job, name, own[name], samples=10 + 5 * at) for at, name in enumerate(own)]
