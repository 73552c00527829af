"""Secure aggregations in one process: every message of every site, real masks over real vectors. Used by the secagg_ cases.

What goes between the parties goes through JSON, as it will on a wire; there is no network and no disk. Each sum is compared with
the plain sum of the quantized updates, bit by bit, before its time counts.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire.message import Message
from fedapi.wire.secagg import Terms
from fedcore.secagg import hub, masking, site
from fedcore.secagg.hub import HubState
from fedcore.secagg.masking import Mask
from fedcore.secagg.quantization import Scale
from fedcore.secagg.site import SiteState
from fedcore.tensors.arithmetic import Array

_Said = TypeVar("_Said", bound=Message)
ITEMS, TURNS = 25_000_000, 5
MASKS = 10  # of a site among ten: its own and nine pairs


@dataclass(frozen=True)
class Speed:
    """What an attempt took."""

    whole_s: float  # all messages and masks of all parties, one after the other
    unmask_s: float  # from the openings to the sum
    upload_ratio: float  # the most bytes that a site sent, as a multiple of its quantized update


def mask_gbs() -> float:
    """GB of keystream a second that one core makes and adds to 25 M values."""
    return MASKS * 4 * ITEMS / 1e9 / median(mask_s())


def mask_s() -> list[float]:
    """Seconds that the masks of one site take, turn by turn."""
    vector = np.zeros(ITEMS, np.uint32)
    keys = [Mask(hashlib.sha256(bytes([number])).digest(), added=number % 2 == 0) for number in range(MASKS)]
    return [_seconds(lambda: masking.apply(vector, keys)) for _ in range(TURNS)]


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(sites: int, threshold: int, colluding: int, items: int, lost: int) -> Speed:
    """An attempt in which so many sites are lost after they shared."""
    keys = {f"site-{number:03}": Ed25519PrivateKey.generate() for number in range(sites)}
    roster = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
    terms = Terms(
        job_uid="bench", round=1, attempt=1, base_sha256="ab" * 32, roster=roster, threshold=threshold,
        colluding=colluding, minimum_cohort=colluding + 2, items=items, limit=1.0,
    )  # fmt: skip
    return _Attempt(terms, keys, [*roster][lost:]).run()


class _Attempt:
    def __init__(self, terms: Terms, keys: Mapping[str, Ed25519PrivateKey], staying: list[str]) -> None:
        self.terms, self.keys, self.staying = terms, keys, staying
        self.hub = HubState(terms=terms)
        self.sites: dict[str, SiteState] = {}
        self.sent = dict.fromkeys(keys, 0)
        self.total, self.plain = (np.zeros(terms.items, np.uint32) for _ in range(2))
        self.apart = 0.0  # seconds of what belongs to the comparison alone

    def run(self) -> Speed:
        began = time.perf_counter()
        self._share()
        self._mask()
        self._open()
        unmask_s = _seconds(lambda: masking.apply(self.total, hub.masks(self.hub)))
        whole_s = time.perf_counter() - began - self.apart
        if not np.array_equal(self.total, self.plain):
            raise RuntimeError("the sum is not that of the quantized updates")
        most = max(self.sent[name] for name in self.staying)
        return Speed(whole_s, unmask_s, 1 + most / (4 * self.terms.items))

    def _share(self) -> None:
        for name, key in self.keys.items():
            self.sites[name] = site.start(name, self.terms, self.terms.roster, hashlib.sha256(name.encode()).digest())
            self.hub = hub.advertised(self.hub, _said(self.sent, name, site.advertise(self.sites[name], key.sign)))
        self.hub, participants = hub.participants(self.hub)
        for name in self.keys:
            self.sites[name], shares = site.share(self.sites[name], participants)
            self.hub = hub.shared(self.hub, _said(self.sent, name, shares))

    def _mask(self) -> None:
        self.hub, given = hub.deliveries(self.hub)
        scale, vector = Scale(self.terms.limit, len(self.keys)), np.empty(self.terms.items, np.uint32)
        for number, name in enumerate(self.staying):
            self.apart += _seconds(lambda seed=number: self._quantized(scale, seed, vector))
            self.sites[name] = site.mask(self.sites[name], given[name], vector)
            masking.add(self.total, vector)
            self.hub = hub.masked(self.hub, name, self.sites[name].masked_sha256 or "")

    def _quantized(self, scale: Scale, seed: int, vector: Array) -> None:
        values = np.random.default_rng(seed).standard_normal(self.terms.items, np.float32)
        values *= np.float32(1e-3)
        scale.encoded(values, vector)
        self.plain += vector

    def _open(self) -> None:
        self.hub, survivors = hub.survivors(self.hub)
        for name in self.staying:
            self.sites[name], consent = site.consent(self.sites[name], survivors, self.keys[name].sign)
            self.hub = hub.consented(self.hub, _said(self.sent, name, consent))
        self.hub, request = hub.request(self.hub)
        for name in self.staying:
            self.hub = hub.opened(self.hub, _said(self.sent, name, site.open_(self.sites[name], request)))


def _said(sent: dict[str, int], name: str, message: _Said) -> _Said:
    data = message.canonical()
    sent[name] += len(data)
    return type(message).model_validate_json(data)
