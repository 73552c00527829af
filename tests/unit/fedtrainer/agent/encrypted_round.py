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
from fedcore.secagg import vector
from fedcore.tensors import tensorfile
from tests.unit.fedtrainer.agent import masked_round
from tests.unit.fedtrainer.agent.masked_round import LAYOUT, LIMIT, MaskedRound


class Hub(masked_round.Hub):
    """The same, that adds what it cannot read, and asks what it is."""

    def __init__(self, terms: Terms, **more) -> None:
        super().__init__(terms, **more)
        self.state = EncryptedState(terms=terms)

    def hear(self, site: str, said: SecureSaid) -> None:
        super().hear(site, said)
        if said.key:
            self.state = hub.keyed(self.state, said.key)
        if said.numbers:
            assert self.numbers(site, said.numbers.sha256).size == self.state.terms.items, "they are there before"
            self.state = hub.opened(self.state, said.numbers)

    def openers(self):
        """Who has said what the sum is."""
        return self.state.numbers

    def numbers(self, site: str, sha256: str) -> np.ndarray:
        """What a site has uploaded of the sum."""
        return np.frombuffer(self.store.get(LAYOUT.update(site, 4, sha256)), "<i4")

    def close(self) -> None:
        if self.step != "Share":
            super().close()
        elif self.state.key:
            self.state = hub.delivered(self.state)

    def steps(self, site: str) -> list[tuple]:
        """The maker alone is asked for a key, and all get it."""
        state, steps = self.state, super().steps(site)
        share, mask, opening = steps[1], steps[2], steps[4]

        def masking() -> SecureAnswer:
            return SecureAnswer(step="Mask", participants=state.participants, key=hub.delivery(state, site))

        def to_open() -> SecureAnswer:
            survivors = state.survivors.survivors
            return SecureAnswer(step="Open", sum=hub.sum_request(state), encrypted=self.sum_of(survivors))

        others = self.samples.keys() - {hub.maker(state)} if state.participants else ()
        steps[1] = (*share[:2], others, share[3])
        steps[2] = (*mask[:3], masking)
        steps[4] = (*opening[:2], state.numbers, to_open)
        return steps

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
        return self.hub.numbers(min(self.hub.state.numbers), sha256)

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
