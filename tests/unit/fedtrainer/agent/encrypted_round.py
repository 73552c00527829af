"""Sites as the trainer's agent has them and a hub in memory, in a round whose updates are encrypted with a key of the sites."""

import hashlib
from pathlib import Path

import numpy as np

from fedapi.wire.download import Download
from fedapi.wire.secagg import Terms
from fedapi.wire.secureround import SecureAnswer, SecureSaid
from fedapi.wire.update import UPDATE, UpdateManifest
from fedcore.homomorphic import hub
from fedcore.homomorphic.addition import add
from fedcore.homomorphic.hub import EncryptedState
from fedcore.secagg import hub as masked_hub
from fedcore.secagg import vector
from fedcore.tensors import tensorfile
from tests.unit.fedtrainer.agent import masked_round
from tests.unit.fedtrainer.agent.masked_round import LAYOUT, LIMIT, STEPS, MaskedRound


class Hub(masked_round.Hub):
    """The same, that adds what it cannot read, and asks what it is."""

    def __init__(self, terms: Terms, **more) -> None:
        super().__init__(terms, **more)
        self.state = EncryptedState(exchange=self.state)

    def hear(self, site: str, said: SecureSaid) -> None:
        self.said.append((site, said))
        exchange = self.state.exchange
        if said.advertisement:
            exchange = masked_hub.advertised(exchange, said.advertisement)
            self.samples[site] = said.samples
        if said.consent:
            exchange = masked_hub.consented(exchange, said.consent)
        self.state = self.state.model_copy(update={"exchange": exchange})
        if said.key:
            self.state = hub.keyed(self.state, said.key)
        if said.numbers:
            assert self.numbers(site, said.numbers.sha256).size == exchange.terms.items, "they are there before"
            self.state = hub.opened(self.state, said.numbers)

    def over(self) -> bool:
        survivors = self.state.exchange.survivors
        return bool(self.state.request) and len(self.state.opened) == len(self.there("Open", survivors.survivors))

    def numbers(self, site: str, sha256: str) -> np.ndarray:
        """What a site has uploaded of the sum."""
        return np.frombuffer(self.store.get(LAYOUT.update(site, 4, sha256)), "<i4")

    @property
    def step(self) -> str:
        exchange = self.state.exchange
        done = (exchange.participants, self.state.key, exchange.survivors, self.state.request)
        return STEPS[sum(each is not None for each in done)]

    def close(self) -> None:
        state = self.state
        exchange = state.exchange
        if exchange.participants is None:
            if set(exchange.advertisements) >= set(self.there("Advertise", exchange.terms.roster)):
                exchange, _ = masked_hub.participants(exchange, max(self.samples.values()) if self.weighs else None)
        elif state.key and exchange.survivors is None and set(state.tags) >= set(self.there("Mask", self.samples)):
            exchange, _ = masked_hub.survivors(exchange)
        elif (
            exchange.survivors
            and state.request is None
            and set(exchange.consents) >= set(self.there("Consent", exchange.survivors.survivors))
        ):
            self.state, _ = hub.request(state)
            return
        self.state = state.model_copy(update={"exchange": exchange})

    def _asked(self, site: str) -> SecureAnswer:
        state = self.state
        exchange = state.exchange
        members = (
            exchange.survivors.survivors if exchange.survivors else self.samples if exchange.participants else (site,)
        )
        spoken, answer = {
            "Advertise": (exchange.advertisements, lambda: SecureAnswer(step="Advertise")),
            "Share": (
                self.samples.keys() - {hub.maker(state)} if exchange.participants else (),
                lambda: SecureAnswer(step="Share", participants=exchange.participants),
            ),
            "Mask": (
                state.tags,
                lambda: SecureAnswer(step="Mask", participants=exchange.participants, key=hub.delivery(state, site)),
            ),
            "Consent": (exchange.consents, lambda: SecureAnswer(step="Consent", survivors=exchange.survivors)),
            "Open": (
                state.opened,
                lambda: SecureAnswer(step="Open", sum=state.request, encrypted=self.sum_of(members)),
            ),
        }[self.step]
        left = site not in members or (self.step == "Open" and (site in spoken or site not in exchange.consents))
        if left:
            return SecureAnswer(step="Over")
        return SecureAnswer(step="Wait") if site in spoken else answer()

    def sum_of(self, sites) -> Download:
        """Of what they have handed in: added without a key, and in the store."""
        sent = [
            np.frombuffer(self.store.get(self.manifests[name].payloads[UPDATE].object.key), "<u8") for name in sites
        ]
        total = np.zeros_like(sent[0])
        for each in sent:
            add(total, each)
        return self.served(total.tobytes())

    def served(self, content: bytes) -> Download:
        """A file that sites may fetch."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.store.put_once(f"served/{sha256}", content)
        return Download(url=f"served/{sha256}", sha256=sha256, size=len(content), expires_at=0.0)

    def take(self, site: str, manifest: UpdateManifest) -> None:
        payload = manifest.payloads[UPDATE]
        self.state = hub.handed_in(self.state, site, payload.object.sha256, payload.tag)
        self.manifests[site] = manifest


class EncryptedRound(MaskedRound):
    """As with masks."""

    hub_of, scheme = Hub, "CKKS"

    def opened(self) -> np.ndarray:
        """The numbers of the sum that all sites have opened alike."""
        sha256 = hub.agreed(self.hub.state)
        return self.hub.numbers(min(self.hub.state.opened), sha256)

    def values(self, site: str) -> np.ndarray:
        """Of a site's update, in their order."""
        prefix = tensorfile.PREFIX_BYTES
        header = self.base[prefix : prefix + tensorfile.header_size(self.base[:prefix], len(self.base))]
        names = vector.carried(tensorfile.parsed(header, len(self.base)), self.order.secure.tensors)
        return np.concatenate([self.updates[site][each.name].ravel().astype(np.float64) for each in names])

    def plain_sum(self, sites) -> np.ndarray:
        """By the rule of the quantization, in integers."""
        levels, whole = ((1 << 31) - 1) // len(self.samples), max(self.samples[name] for name in self.hub.samples)
        steps = [np.rint(self.values(name) * (self.samples[name] / whole) * (levels / LIMIT)) for name in sites]
        return np.sum(steps, axis=0).astype(np.int64)

    def file(self, site: str, name: str) -> Path:
        """One of a site's exchange."""
        (found,) = self.root.glob(f"{site}/state/*/{site}/*/{name}")
        return found
