"""What a hub makes of encrypted updates without a key: their sum to the bit, the mean of what sites read in it, and nothing of damaged bytes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import adding, content, unmasking
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, RequestRefusedError, WorkCancelledError
from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.layout import Layout
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.homomorphic import site
from fedcore.homomorphic.hub import EncryptedState, sum_request
from fedcore.homomorphic.parameters import COEFFICIENTS, PRIME
from fedcore.rounds.effects import Fold, Term
from fedcore.secagg import hub
from fedcore.secagg.errors import AttemptFailedError
from fedcore.secagg.quantization import Scale
from fedstore.memory import MemoryReader, MemoryStore
from tests.unit.fedcore.homomorphic.test_attempts import ITEMS, Attempt, numbers
from tests.unit.fedcore.secagg.federation import signing_key

LAYOUT = Layout("ns", "job", "0d3c")
SAMPLES = 10


class Summed:
    """One attempt whose updates are in a store."""

    def __init__(self) -> None:
        self.store, self.attempt = MemoryStore(), Attempt().begin().hand_in()
        self.payloads = Payloads(self.store, bytes(32))
        terms = next(iter(self.attempt.states.values())).exchange.terms
        state = EncryptedState(terms=terms)
        for said in self.attempt.participants.advertisements:
            state = hub.advertised(state, said)
        state, _ = hub.participants(state)
        self.names = sorted(self.attempt.states)
        state = state.model_copy(update={"key": self.attempt.said, "sharers": tuple(self.names)})
        state = state.model_copy(
            update={
                "masked_sha256": {n: self.attempt.states[n].exchange.masked_sha256 for n in self.names},
                "tags": self.attempt.tags,
            }
        )
        state, survivors = hub.survivors(state)
        for name in self.names:
            self.attempt.states[name], said = site.consent(self.attempt.state(name), survivors, signing_key(name).sign)
            state = hub.consented(state, said)
        self.state, _ = hub.request(state)

    def order(self) -> Fold:
        base = self.store.put_once("models/base", save({"weight": np.zeros(ITEMS, np.float32)}))
        terms = tuple(self._term(name) for name in self.names)
        return Fold(7, 1, base, StrategySettings(), terms, secure=self.state)

    def _term(self, name: str) -> Term:
        data = self.attempt.vectors[name].astype("<u8").tobytes()
        sha256 = self.attempt.states[name].exchange.masked_sha256
        ref = self.store.put_once(LAYOUT.update(name, 7, sha256), data)
        assert ref.sha256 == sha256
        return Term(name, {UPDATE: Payload(object=ref, masked=True, tag=self.attempt.tags[name])}, SAMPLES, None)

    def added(self, order: Fold, cancelled=lambda: False):
        return adding.added(self.store, self.payloads, LAYOUT, order, cancelled)

    def opened(self, order: Fold, said: dict[str, np.ndarray]) -> Fold:
        """The order after these sites have uploaded and said these numbers."""
        state = order.secure
        told = {}
        for name, values in said.items():
            data = values.astype("<i4").tobytes()
            sha256 = hashlib.sha256(data).hexdigest()
            self.store.put_once(LAYOUT.update(name, 7, sha256), data)
            told[name] = OpenedSum(site=name, sha256=sha256)
        return replace(order, secure=state.model_copy(update={"numbers": told}))

    def summed(self, order: Fold) -> Fold:
        return unmasking.summed(self.store, self.payloads, LAYOUT, order, lambda: False)


@pytest.fixture(scope="module")
def whole() -> Summed:
    return Summed()


def test_sites_read_the_sum_of_what_they_sent_and_the_model_is_its_mean(whole):
    order = whole.order()
    total = whole.added(order)
    rows = np.frombuffer(whole.store.get(total.key), "<u8").reshape(-1, COEFFICIENTS)
    expected = np.sum([numbers(name) for name in whole.names], axis=0)
    read = {name: site.read(whole.attempt.state(name), sum_request(whole.state), rows) for name in whole.names}
    assert all(np.array_equal(found, expected) for found in read.values())
    made = whole.summed(whole.opened(order, read))
    (term,) = made.terms
    assert made.secure is None
    assert term.samples == SAMPLES * len(whole.names)
    terms = whole.state.terms
    mean = Scale(terms.limit, len(terms.roster)).decoded(expected.astype("<u4")) / len(whole.names)
    found = load(whole.store.get(term.payloads[UPDATE].object.key))["weight"]
    assert np.array_equal(found, mean.astype(np.float32))


@pytest.mark.parametrize("together", [1, 1 << 30])
def test_blocks_decide_no_bit(whole, monkeypatch, together):
    expected = whole.added(whole.order()).sha256
    monkeypatch.setattr(adding, "block_bytes", lambda _: together)
    assert whole.added(whole.order()).sha256 == expected


def test_a_damaged_update_is_named(whole):
    fresh = Summed()
    order = fresh.order()
    key = order.terms[1].payloads[UPDATE].object.key
    data = fresh.store.get(key)
    for changed in (bytes([data[0] ^ 1]) + data[1:], b"\xff" * 8 + data[8:]):
        fresh.store._objects[key] = changed  # as a disk would, behind the store's back
        with pytest.raises(DamagedError) as raised:
            fresh.added(order)
        assert list(raised.value.found) == [key]
    with pytest.raises(WorkCancelledError):
        whole.added(whole.order(), cancelled=lambda: True)


def test_numbers_that_are_lost_are_read_at_another_site(whole):
    fresh = Summed()
    values = np.arange(ITEMS, dtype=np.int32)
    order = fresh.opened(fresh.order(), dict.fromkeys(fresh.names, values))
    sha256 = order.secure.numbers[fresh.names[0]].sha256
    keys = [LAYOUT.update(name, 7, sha256) for name in fresh.names]
    fresh.store.delete(keys[0])
    fresh.store._objects[keys[1]] = b"\0" * (4 * ITEMS)
    assert len(fresh.summed(order).terms) == 1
    for key in keys[2:]:
        fresh.store.delete(key)
    with pytest.raises(DamagedError) as raised:
        fresh.summed(order)
    assert raised.value.found.keys() == set(keys)


def test_sums_that_differ_and_terms_that_nobody_signed_give_no_model(whole):
    values = np.arange(ITEMS, dtype=np.int32)
    order = whole.order()
    lies = whole.opened(order, {whole.names[0]: values, whole.names[1]: values + 1})
    with pytest.raises(AttemptFailedError, match="different sums"):
        whole.summed(lies)
    honest = whole.opened(order, dict.fromkeys(whole.names, values))
    with pytest.raises(AttemptFailedError, match="survivor set"):
        whole.summed(replace(honest, terms=honest.terms[1:]))


def test_numbers_beyond_the_prime_are_refused_before_they_are_added(whole):
    data = np.zeros(COEFFICIENTS, "<u8")
    data[-1] = PRIME
    order = whole.order()
    payload = order.terms[0].payloads[UPDATE]
    with pytest.raises(RequestRefusedError) as raised:
        content.check_ciphertexts(payload, MemoryReader("k", data.tobytes()))
    assert raised.value.refusal.code == "Malformed"
    data[-1] -= 1
    content.check_ciphertexts(payload, MemoryReader("k", data.tobytes()))
