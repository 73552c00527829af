"""Sites and a hub in memory, and one attempt of theirs in which sites are lost where a test says so."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire.secagg import Opening, Terms
from fedcore.secagg import hub, masking, site
from fedcore.secagg.hub import HubState
from fedcore.secagg.site import SiteState
from fedcore.tensors.arithmetic import Array

ADVERTISE, SHARE, MASK, CONSENT, OPEN, NEVER = range(6)  # the step that a lost site does not make


def signing_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def pinned(count: int) -> dict[str, bytes]:
    return {name: signing_key(name).public_key().public_bytes_raw() for name in (f"site-{n:03}" for n in range(count))}


def terms(count: int = 5, threshold: int = 3, **changed) -> Terms:
    values = {
        "job_uid": "0d3c", "round": 7, "attempt": 1, "base_sha256": "ab" * 32, "roster": pinned(count),
        "threshold": threshold, "colluding": 0, "minimum_cohort": 2, "items": 1000, "limit": 4.0,
    }  # fmt: skip
    return Terms(**{**values, **changed})


def seed(name: str, said: Terms) -> bytes:
    return hashlib.sha256(name.encode() + said.context()).digest()


def update(name: str, items: int) -> Array:
    """Any quantized update: sums may wrap here, which the ring does not mind."""
    return np.frombuffer(masking.keystream(hashlib.sha256(name.encode()).digest(), 4 * items), "<u4").copy()


@dataclass
class Federation:
    """Each party's state; `durable`: all are killed before each step, and go on from what they kept."""

    terms: Terms
    sites: dict[str, SiteState] = field(default_factory=dict)
    hub: HubState = None
    sent: dict[str, Array] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    durable: bool = False

    @classmethod
    def of(cls, said: Terms, lost: Mapping[str, int] | None = None):
        sites = {name: site.start(name, said, said.roster, seed(name, said)) for name in said.roster}
        return cls(said, sites, HubState(terms=said), {}, lost or {})

    def there(self, step: int) -> list[str]:
        """Who makes a step, as survivors of those before."""
        if self.durable:
            self.hub = HubState.stored(self.hub.sealed().canonical())
            self.sites = {name: SiteState.stored(state.sealed().canonical()) for name, state in self.sites.items()}
        return [name for name in self.sites if self.lost.get(name, NEVER) > step]

    def advertise(self):
        for name in self.there(ADVERTISE):
            said = site.advertise(self.sites[name], signing_key(name).sign)
            self.hub = hub.advertised(self.hub, said)
        self.hub, found = hub.participants(self.hub)
        return found

    def share(self, found):
        for name in self.there(SHARE):
            self.sites[name], said = site.share(self.sites[name], found)
            self.hub = hub.shared(self.hub, said)
        self.hub, given = hub.deliveries(self.hub)
        return given

    def mask(self, given):
        for name in self.there(MASK):
            vector = update(name, self.terms.items)
            self.sites[name] = site.mask(self.sites[name], given[name], vector)
            self.sent[name] = vector
            self.hub = hub.masked(self.hub, name, self.sites[name].masked_sha256)
        self.hub, found = hub.survivors(self.hub)
        return found

    def consent(self, found):
        for name in self.there(CONSENT):
            self.sites[name], said = site.consent(self.sites[name], found, signing_key(name).sign)
            self.hub = hub.consented(self.hub, said)
        self.hub, asked = hub.request(self.hub)
        return asked

    def open(self, asked) -> list[Opening]:
        said = [site.open_(self.sites[name], asked) for name in self.there(OPEN)]
        for each in said:
            self.hub = hub.opened(self.hub, each)
        return said

    def total(self) -> Array:
        """The sum of what the survivors sent, without its masks."""
        found = np.zeros(self.terms.items, np.uint32)
        for name in self.hub.survivors.survivors:
            masking.add(found, self.sent[name])
        masking.apply(found, hub.masks(self.hub))
        return found

    def run(self) -> Array:
        self.open(self.consent(self.mask(self.share(self.advertise()))))
        return self.total()


def plain_sum(names, items: int) -> Array:
    return np.sum([update(name, items) for name in names], axis=0, dtype=np.uint32)
