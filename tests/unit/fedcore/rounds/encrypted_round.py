"""Rounds whose updates are encrypted through the real machine: sites of fedcore.homomorphic.site, a hub that is killed and goes on."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.message import ObjectRef
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.homomorphic import site
from fedcore.homomorphic.addition import add, size
from fedcore.homomorphic.parameters import COEFFICIENTS
from fedcore.homomorphic.site import EncryptingState
from fedcore.rounds import secure, secureplan
from fedcore.rounds.effects import AddUp
from fedcore.rounds.events import AddedUp, Event
from fedcore.secagg import site as masked_site
from fedcore.tensors.arithmetic import Array
from tests.unit.fedcore.rounds.masked_round import ITEMS, Federation, config, samples, settings, vector
from tests.unit.fedcore.secagg.federation import signing_key


def encrypted_config(clients="abcde", **values):
    return config(clients, **{"secure": settings(scheme="CKKS", colluding=0)} | values)


def numbers(name: str, round_: int = 1) -> Array:
    """What a site has trained, in whole numbers of which sums fit."""
    return (vector(name, round_).view("<i4") >> 4).astype("<i4")


def sum_of(names, round_: int = 1) -> Array:
    return np.sum([numbers(name, round_) for name in names], axis=0).astype("<i4")


@dataclass
class EncryptedFederation(Federation):
    """A hub that adds up, and its sites."""

    config: object = field(default_factory=encrypted_config)
    sites: dict[tuple[str, int, int], EncryptingState] = field(default_factory=dict)
    tags: dict[str, bytes] = field(default_factory=dict)  # by digest of the update
    makers: list[str] = field(default_factory=list)  # who was asked for a key
    held: list[AddUp] | None = None  # sums that are under way, where they are not made at once

    def added_up(self, order: AddUp) -> Event:
        total = np.zeros((1, COEFFICIENTS), "<u8")
        for term in order.of.terms:
            add(total, self.uploads[term.payloads["update"].object.sha256])
        sha256 = hashlib.sha256(total.tobytes()).hexdigest()
        self.uploads[sha256] = total
        ref = ObjectRef(key=f"models/{sha256}", sha256=sha256, size=total.nbytes)
        return AddedUp(self.now, order.of.round, order.of.attempt, ref)

    def close_step(self) -> None:
        if self.step == "Share":
            self.makers.extend(self.state.current.secure.sharing)
        super().close_step()

    def _perform(self, effects) -> None:
        if self.held is not None:
            self.held += [each for each in effects if isinstance(each, AddUp)]
            effects = [each for each in effects if not isinstance(each, AddUp)]
        super()._perform(effects)

    def site(self, name: str) -> EncryptingState:
        plan = self.state.current.plan
        where = (name, plan.round, plan.attempt)
        if where not in self.sites:
            terms = secureplan.terms(plan, plan.secure)
            seed = hashlib.sha256(f"{where}".encode()).digest()
            self.sites[where] = site.start(masked_site.start(name, terms, terms.roster, seed))
        return self.sites[where]

    def keep(self, state: EncryptingState) -> None:
        own = state.exchange
        self.sites[own.site, own.terms.round, own.terms.attempt] = EncryptingState.stored(state.sealed().canonical())

    def go_on(self, name: str) -> str:
        told = self.answer(name)
        if told.step in ("Wait", "Over"):
            return told.step
        state, sign = self.site(name), signing_key(name).sign
        said = None
        match told.step:
            case "Advertise":
                said = {"advertisement": site.advertise(state, sign), "samples": samples(name)}
            case "Share":
                state, key = site.share(state, told.participants)
                said = {"key": key}
            case "Mask":
                state = self._encrypted(name, site.delivered(state, told.participants, told.key))
            case "Consent":
                state, consent = site.consent(state, told.survivors, sign)
                said = {"consent": consent}
            case "Open":
                said = {"numbers": self.read(name, told.sum)}
        self.keep(state)
        if said is None:
            self.hand_in(name, state.exchange.masked_sha256)
        else:
            self.say(name, **said)
        return told.step

    def _encrypted(self, name: str, state: EncryptingState) -> EncryptingState:
        sha256 = state.exchange.masked_sha256
        rows = (
            self.uploads[sha256]
            if sha256
            else np.stack(list(site.encrypted(state, numbers(name, self.state.current.plan.round))))
        )
        state, tag = site.handed_in(state, rows)
        self.uploads[state.exchange.masked_sha256], self.tags[state.exchange.masked_sha256] = rows, tag
        return state

    def read(self, name: str, request) -> OpenedSum:
        """What a site reads, and uploads."""
        plan = self.state.current.plan
        total = secure.offered(self.state, name, plan.round, plan.attempt)
        found = site.read(self.site(name), request, self.uploads[total.sha256]).astype("<i4")
        sha256 = hashlib.sha256(found.tobytes()).hexdigest()
        self.uploads[sha256] = found
        return OpenedSum(site=name, sha256=sha256)

    def manifest(self, name: str, sha256: str, **values) -> UpdateManifest:
        key = self.state.layout.update(name, self.state.current.plan.round, sha256)
        payload = ObjectRef(key=key, sha256=sha256, size=size(ITEMS))
        tag = self.tags.get(sha256, bytes(16))
        payloads = {"update": Payload(object=payload, masked=True, tag=tag)}
        return super().manifest(name, sha256, **{"payloads": payloads} | values)

    def total(self) -> Array:
        """The sum that the fold of the last closed attempt is given."""
        found = {each.sha256 for each in self.folds[-1].secure.numbers.values()}
        return self.uploads[found.pop()]
