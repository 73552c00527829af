"""The hub's half of whole attempts: real sites, a hub that is killed after each word, and what it takes from nobody."""

import hashlib

import numpy as np
import pytest

from fedapi.wire.encryptedsum import OpenedSum
from fedcore.homomorphic import hub, site
from fedcore.homomorphic.hub import EncryptedState
from fedcore.secagg import hub as masked_hub
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from tests.unit.fedcore.homomorphic.test_attempts import Attempt, numbers
from tests.unit.fedcore.secagg.federation import signing_key


def kept(state: EncryptedState) -> EncryptedState:
    return EncryptedState.stored(state.sealed().canonical())


@pytest.fixture(scope="module")
def attempt() -> Attempt:
    return Attempt().begin().hand_in()


@pytest.fixture(scope="module")
def advertised(attempt) -> EncryptedState:
    terms = next(iter(attempt.states.values())).exchange.terms
    state = EncryptedState(terms=terms)
    for said in attempt.participants.advertisements:
        state = kept(masked_hub.advertised(state, said))
    state, participants = masked_hub.participants(state)
    assert participants == attempt.participants
    return kept(state)


@pytest.fixture(scope="module")
def asked(attempt, advertised) -> EncryptedState:
    """All but the last site are in the sum; the hub is killed after each word."""
    state = kept(hub.delivered(kept(hub.keyed(advertised, attempt.said))))
    assert {name: hub.delivery(state, name) for name in attempt.states} == {
        name: attempt.delivery(name) for name in attempt.states
    }
    *names, _ = sorted(attempt.states)
    for name in names:
        state = kept(hub.handed_in(state, name, attempt.states[name].exchange.masked_sha256, attempt.tags[name]))
    state, survivors = masked_hub.survivors(state)
    for name in names:
        attempt.states[name], said = site.consent(attempt.state(name), survivors, signing_key(name).sign)
        state = kept(masked_hub.consented(state, said))
    return kept(masked_hub.request(state)[0])


def said(name: str, data: bytes = b"sum") -> OpenedSum:
    return OpenedSum(site=name, sha256=hashlib.sha256(data).hexdigest())


def test_a_hub_that_is_killed_after_each_word_has_the_sum_that_all_sites_read(attempt, asked):
    names = sorted(asked.consents)
    _, rows = attempt.total(names)
    expected, state = np.sum([numbers(name) for name in names], axis=0).astype("<i4"), asked
    for name in names:
        read = site.read(attempt.state(name), hub.sum_request(state), rows)
        state = kept(hub.opened(state, said(name, read.astype("<i4").tobytes())))
    assert hub.agreed(state) == hashlib.sha256(expected.tobytes()).hexdigest()


def test_a_maker_that_is_lost_fails_the_attempt_by_name(advertised):
    with pytest.raises(AttemptFailedError, match=hub.maker(advertised)):
        hub.delivered(advertised)


def test_a_key_of_another_site_or_for_others_is_refused(attempt, advertised):
    other = next(name for name in attempt.states if name != attempt.maker)
    for change in ({"site": other}, {"participants_sha256": "0" * 64}, {"sealed": {}}):
        with pytest.raises(RefusedError):
            hub.keyed(advertised, attempt.said.model_copy(update=change))
    taken = hub.keyed(advertised, attempt.said)
    assert hub.keyed(taken, attempt.said) == taken
    with pytest.raises(RefusedError, match="another key before"):
        hub.keyed(taken, attempt.said.model_copy(update={"key": b"another"}))


def test_sites_that_read_different_sums_are_named(asked):
    first, second, third = sorted(asked.consents)
    state = hub.opened(hub.opened(hub.opened(asked, said(first)), said(second, b"lie")), said(third))
    with pytest.raises(AttemptFailedError) as failed:
        hub.agreed(state)
    assert f"of {first}, {third}" in str(failed.value)
    assert f"of {second}" in str(failed.value)


def test_one_site_alone_is_not_believed(asked):
    with pytest.raises(AttemptFailedError, match="opened the sum: 1, and 2 must"):
        hub.agreed(hub.opened(asked, said(min(asked.consents))))


def test_who_is_not_in_the_sum_or_says_two_opens_nothing(attempt, asked):
    lost = (attempt.states.keys() - asked.consents.keys()).pop()
    with pytest.raises(RefusedError, match="has not signed"):
        hub.opened(asked, said(lost))
    first = min(asked.consents)
    with pytest.raises(RefusedError, match="another sum before"):
        hub.opened(hub.opened(asked, said(first)), said(first, b"another"))


def test_no_request_before_enough_consents_and_no_update_with_another_tag(attempt, advertised):
    state = hub.delivered(hub.keyed(advertised, attempt.said))
    with pytest.raises(RefusedError, match="too early"):
        hub.sum_request(state)
    name = min(attempt.states)
    sha256 = attempt.states[name].exchange.masked_sha256
    state = hub.handed_in(state, name, sha256, attempt.tags[name])
    with pytest.raises(RefusedError, match="another tag"):
        hub.handed_in(state, name, sha256, bytes(16))
    with pytest.raises(RefusedError, match="two numbers below the prime"):
        hub.handed_in(state, name, sha256, b"\xff" * 16)
