"""An encrypted sum in one process: every message of every site, real ciphertexts of real vectors. Used by the he_ cases.

What goes between the parties goes through JSON, as it will on a wire; there is no network and no disk. The sum is compared with the
plain sum of the numbers, one by one, before a figure counts.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.message import Message
from fedapi.wire.secagg import Terms
from fedcore.homomorphic import hub, site
from fedcore.homomorphic.addition import add
from fedcore.homomorphic.hub import EncryptedState
from fedcore.homomorphic.site import EncryptingState
from fedcore.homomorphic.vectors import Numbers
from fedcore.secagg import hub as exchange
from fedcore.secagg import site as exchanging
from fedcore.tensors.arithmetic import Array

_Said = TypeVar("_Said", bound=Message)
SITES, THRESHOLD, ITEMS = 10, 7, 1_000_000


@dataclass(frozen=True)
class Speed:
    """What an attempt took."""

    upload_ratio: float  # the most bytes that a site sent, as a multiple of its quantized update
    seconds: dict[str, float]  # of one core, by what is done: at a site, or at the hub for a site


def measured() -> Speed:
    """An attempt of 10 sites with 1 M values."""
    keys = {f"site-{number:03}": Ed25519PrivateKey.generate() for number in range(SITES)}
    roster = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
    terms = Terms(
        job_uid="bench", round=1, attempt=1, base_sha256="ab" * 32, roster=roster, threshold=THRESHOLD, colluding=0,
        minimum_cohort=2, items=ITEMS, limit=1.0, scheme="CKKS",
    )  # fmt: skip
    return _Attempt(terms, keys).run()


@dataclass
class _Attempt:
    terms: Terms
    keys: dict[str, Ed25519PrivateKey]
    sites: dict[str, EncryptingState] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def run(self) -> Speed:
        self.hub = EncryptedState(terms=self.terms)
        self._share()
        total = self._mask()
        self._open(total)
        most = max(self.sent.values()) / (4 * self.terms.items)
        return Speed(most, {what: seconds / len(self.keys) for what, seconds in self.seconds.items()})

    def _share(self) -> None:
        for name, key in self.keys.items():
            seed = hashlib.sha256(name.encode()).digest()
            self.sites[name] = site.start(exchanging.start(name, self.terms, self.terms.roster, seed))
            self.hub = exchange.advertised(self.hub, self._said(name, site.advertise(self.sites[name], key.sign)))
        self.hub, self.participants = exchange.participants(self.hub)
        maker = hub.maker(self.hub)
        self.sites[maker], said = site.share(self.sites[maker], self.participants)
        self.hub = hub.delivered(hub.keyed(self.hub, self._said(maker, said)))

    def _mask(self) -> Array:
        total, self.plain = None, np.zeros(self.terms.items, np.int64)
        for number, name in enumerate(self.keys):
            state = site.delivered(self.sites[name], self.participants, hub.delivery(self.hub, name))
            numbers = np.random.default_rng(number).integers(-1 << 20, 1 << 20, self.terms.items).astype(np.int32)
            self.plain += numbers
            with self._timed("encrypt"):
                rows = np.stack(list(site.encrypted(state, numbers)))
            with self._timed("tag"):
                self.sites[name], tag = site.handed_in(state, rows)
            self.sent[name] += rows.nbytes
            total = np.zeros_like(rows) if total is None else total
            with self._timed("add"):
                add(total, rows)
            self.hub = hub.handed_in(self.hub, name, self.sites[name].exchange.masked_sha256 or "", tag)
        assert total is not None
        return total

    def _open(self, total: Array) -> None:
        self.hub, survivors = exchange.survivors(self.hub)
        for name, key in self.keys.items():
            self.sites[name], consent = site.consent(self.sites[name], survivors, key.sign)
            self.hub = exchange.consented(self.hub, self._said(name, consent))
        self.hub, _ = exchange.request(self.hub)
        for name in self.keys:
            with self._timed("open"):
                numbers = site.read(self.sites[name], hub.sum_request(self.hub), total)
            self.hub = hub.opened(self.hub, self._said(name, self._uploaded(name, numbers)))
        hub.agreed(self.hub)

    def _uploaded(self, name: str, numbers: Numbers) -> OpenedSum:
        if not np.array_equal(numbers, self.plain):
            raise RuntimeError("the sum is not that of the numbers")
        data = numbers.astype("<i4").tobytes()
        self.sent[name] += len(data)
        return OpenedSum(site=name, sha256=hashlib.sha256(data).hexdigest())

    def _said(self, name: str, message: _Said) -> _Said:
        data = message.canonical()
        self.sent[name] += len(data)
        return type(message).model_validate_json(data)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[what] += time.process_time() - began
