"""Whole attempts of encrypted sums: exact where all are honest, and a hub that asks for anything else is refused by each site."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fedapi.wire.encryptedsum import KeyDelivery, SumRequest
from fedapi.wire.secagg import Participants, SurvivorSet
from fedcore.homomorphic import agreement, site
from fedcore.homomorphic.addition import add, added_tags
from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.errors import NotASumError
from fedcore.homomorphic.site import EncryptingState
from fedcore.secagg import site as masked_site
from fedcore.secagg.agreement import view
from fedcore.secagg.errors import RefusedError, SpentKeysError
from tests.unit.fedcore.secagg.federation import seed, signing_key, terms

ITEMS = 3000


def numbers(name: str) -> np.ndarray:
    return np.random.default_rng(int(name[-3:])).integers(-1 << 20, 1 << 20, ITEMS).astype(np.int32)


@dataclass
class Attempt:
    """Sites, each killed before each step, and a hub that only adds."""

    number: int = 1
    states: dict[str, EncryptingState] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    tags: dict[str, bytes] = field(default_factory=dict)
    participants: Participants = None
    said = None

    def state(self, name: str) -> EncryptingState:
        return EncryptingState.stored(self.states[name].sealed().canonical())

    def begin(self, sites: int = 4) -> "Attempt":
        asked = terms(sites, 3, items=ITEMS, attempt=self.number, scheme="CKKS")
        for name in asked.roster:
            self.states[name] = site.start(masked_site.start(name, asked, asked.roster, seed(name, asked)))
        told = [site.advertise(self.state(name), signing_key(name).sign) for name in sorted(self.states)]
        self.participants = Participants(advertisements=tuple(told))
        self.maker = agreement.maker(view(asked, self.participants))
        self.states[self.maker], self.said = site.share(self.state(self.maker), self.participants)
        return self

    def delivery(self, name: str) -> KeyDelivery:
        return KeyDelivery(maker=self.maker, sealed=self.said.sealed.get(name), key=self.said.key)

    def hand_in(self) -> "Attempt":
        for name in self.states:
            self.states[name] = site.delivered(self.state(name), self.participants, self.delivery(name))
            self.vectors[name] = np.stack(list(site.encrypted(self.state(name), numbers(name))))
            self.states[name], self.tags[name] = site.handed_in(self.state(name), self.vectors[name])
        return self

    def survivors(self, names) -> SurvivorSet:
        return SurvivorSet(
            participants_sha256=self.said.participants_sha256,
            sharers=tuple(sorted(self.states)),
            survivors={name: self.states[name].exchange.masked_sha256 for name in sorted(names)},
        )

    def consent(self, names) -> tuple:
        found, consents = self.survivors(names), []
        for name in sorted(names):
            self.states[name], said = site.consent(self.state(name), found, signing_key(name).sign)
            consents.append(said)
        return tuple(consents)

    def total(self, names) -> tuple[bytes, np.ndarray]:
        found = np.zeros_like(next(iter(self.vectors.values())))
        for name in names:
            add(found, self.vectors[name])
        return added_tags(self.tags[name] for name in names), found


@pytest.fixture(scope="module")
def attempt():
    return Attempt().begin().hand_in()


@pytest.fixture(scope="module")
def agreed(attempt):
    """All sites but one have signed that they are in the sum, and the one that has not."""
    *names, lost = sorted(attempt.states)
    return tuple(names), attempt.consent(names), lost


def test_the_sum_of_those_that_stayed(attempt, agreed):
    names, consents, _ = agreed
    tag, rows = attempt.total(names)
    request = SumRequest(consents=consents, tag=tag)
    expected = np.sum([numbers(name) for name in names], axis=0)
    for name in names:
        assert np.array_equal(site.read(attempt.state(name), request, rows), expected)
        assert np.array_equal(site.read(attempt.state(name), request, rows), expected), "asked again"


def refused(attempt, agreed, tag: bytes, rows: np.ndarray, consents=None) -> None:
    request = SumRequest(consents=agreed[1] if consents is None else consents, tag=tag)
    for name in agreed[0]:
        with pytest.raises(RefusedError):
            site.read(attempt.state(name), request, rows)


@pytest.mark.parametrize("take", [slice(0, 1), slice(0, 2), slice(1, 3), slice(0, 0)])
def test_one_update_or_fewer_than_agreed_are_not_decrypted(attempt, agreed, take):
    names = agreed[0]
    tag, rows = attempt.total(names[take])
    refused(attempt, agreed, tag, rows)
    refused(attempt, agreed, attempt.total(names)[0], rows)


def test_more_than_agreed_or_one_twice(attempt, agreed):
    names, _, lost = agreed
    for more in ((*names, lost), (*names, names[0])):
        refused(attempt, agreed, *attempt.total(more))


def test_a_flipped_bit_other_sizes_and_no_residues(attempt, agreed):
    tag, rows = attempt.total(agreed[0])
    for value in (int(rows[0, 5]) ^ 1, (1 << 64) - 1):
        changed = rows.copy()
        changed[0, 5] = value
        refused(attempt, agreed, tag, changed)
    refused(attempt, agreed, tag, rows[:1])
    refused(attempt, agreed, tag, np.concatenate([rows, rows[:1]]))


def test_the_sum_of_another_attempt(attempt, agreed):
    other = Attempt(number=2).begin().hand_in()
    tag, rows = other.total(agreed[0])
    refused(attempt, agreed, tag, rows)
    refused(attempt, agreed, tag, rows, other.consent(agreed[0]))


def test_too_few_consents_or_of_others(attempt, agreed):
    names, consents, _ = agreed
    tag, rows = attempt.total(names)
    refused(attempt, agreed, tag, rows, consents[:2])
    refused(attempt, agreed, tag, rows, (*consents[:2], consents[0]))
    refused(attempt, agreed, tag, rows, ())


def test_another_survivor_set_is_not_signed(attempt, agreed):
    names, _, lost = agreed
    for other in ((*names, lost), names[:2]):
        with pytest.raises(RefusedError):
            site.consent(attempt.state(names[0]), attempt.survivors(other), signing_key(names[0]).sign)


def test_nothing_is_decrypted_before_a_set_was_signed(attempt, agreed):
    names, consents, lost = agreed
    tag, rows = attempt.total(names)
    with pytest.raises(RefusedError, match="too early"):
        site.read(attempt.state(lost), SumRequest(consents=consents, tag=tag), rows)


def test_a_second_vector_and_another_key(attempt):
    name = next(each for each in attempt.states if each != attempt.maker)
    again = list(site.encrypted(attempt.state(name), numbers(name)))
    with pytest.raises(SpentKeysError):
        site.handed_in(attempt.state(name), again)
    assert site.handed_in(attempt.state(name), attempt.vectors[name])[1] == attempt.tags[name], "the same again"
    with pytest.raises(RefusedError, match="another key"):
        site.delivered(attempt.state(name), attempt.participants, KeyDelivery(maker=attempt.maker, key=b"key"))


def test_a_hub_brings_no_key_of_its_own_and_no_other_maker():
    attempt = Attempt(number=3).begin()
    other = Attempt(number=4).begin()
    name = next(each for each in sorted(attempt.states) if each != attempt.maker)
    good = attempt.delivery(name)
    for wrong in (
        KeyDelivery(maker=attempt.maker, sealed=bytes(48), key=good.key),
        KeyDelivery(maker=attempt.maker, sealed=good.sealed, key=SiteKey().saved()),
        KeyDelivery(maker=attempt.maker, sealed=other.said.sealed.get(name) or bytes(48), key=other.said.key),
        KeyDelivery(maker=attempt.maker, sealed=None, key=good.key),
        KeyDelivery(maker=name, sealed=None, key=good.key),
    ):
        with pytest.raises(RefusedError):
            site.delivered(attempt.state(name), attempt.participants, wrong)
    with pytest.raises(RefusedError, match="another site makes the key"):
        site.share(attempt.state(name), attempt.participants)
    fewer = Participants(advertisements=attempt.participants.advertisements[1:])
    with pytest.raises(RefusedError):
        site.share(attempt.state(attempt.maker), fewer)


def test_the_makers_word_is_the_same_again(attempt):
    assert site.share(attempt.state(attempt.maker), attempt.participants)[1] == attempt.said


def test_a_site_that_spoils_the_sum_is_found_out():
    """A malicious site has the secret, so that its tag holds: what comes of it is no sum, and nothing of it is told."""
    attempt = Attempt(number=5).begin().hand_in()
    names = tuple(sorted(attempt.states))
    bad = names[0]
    exchange = attempt.states[bad].exchange.model_copy(update={"masked_sha256": None})
    attempt.vectors[bad] = np.random.default_rng(1).integers(0, 1 << 59, attempt.vectors[bad].shape, np.uint64)
    state = attempt.states[bad].model_copy(update={"exchange": exchange})
    attempt.states[bad], attempt.tags[bad] = site.handed_in(state, attempt.vectors[bad])
    consents = attempt.consent(names)
    tag, rows = attempt.total(names)
    with pytest.raises(NotASumError):
        site.read(attempt.state(names[1]), SumRequest(consents=consents, tag=tag), rows)


def test_no_secret_is_shown(attempt):
    shown = repr(attempt.states[attempt.maker])
    assert "seed" not in shown
    assert "made" not in shown
    assert "delivery" not in shown
