"""Entrusted states at the hub: whose are taken, which are kept, and that the one which counts never goes."""

import asyncio
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fedaggregator.engine.issues import Issues, Recorded
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.delivery import SignedUrls
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.requests.entrusted import EntrustedStates
from fedapi.wire.entrusted import EntrustRequest, RecallRequest
from fedcore.rounds import entrusting
from fedcore.rounds.sites import Contribution
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds.test_round_rules import accept, collecting

UPDATES = {round_: f"{round_:064x}" for round_ in range(9)}


class Hub:
    """Collects round 1 of site `a`, which has other rounds committed as a test says."""

    def __init__(self):
        self.store = MemoryStore()
        self.engine = SimpleNamespace(state=collecting(), blocking=self._blocking)
        self.at = {"round": self.engine.state.current.plan.round, "attempt": self.engine.state.current.plan.attempt}
        urls = UrlSigner(b"k" * 32, "https://hub", 60.0)
        delivery = Recorded(SignedUrls(urls, self.store, lambda: 0.0), Issues(lambda: 0.0, lambda *_: None))
        self.states = EntrustedStates(self.engine, self.store, delivery)

    async def _blocking(self, work, *arguments):
        return work(*arguments)

    def committed(self, round_, sha256=None):
        state = self.engine.state
        contribution = Contribution(round_, 1, sha256 or UPDATES[round_])
        self.engine.state = state.with_site("a", replace(state.site("a"), committed=contribution))

    def request(self, round_=None, data=b"state", **values):
        update = self.at if round_ is None else {"round": round_, "attempt": 1}
        content = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return EntrustRequest(**update | content | {"update_sha256": UPDATES[round_ or 0], "keep_last": 2} | values)

    def asked(self, request):
        return asyncio.run(self.states.entrust("a", request)).grant

    def put(self, request, data=b"state"):
        self.store.put_once(self.asked(request).object.key, data)
        assert self.asked(request) is None, "it is there"

    def rounds(self):
        return [said.round for said, _ in self.states._all("a")]

    def recalled(self, round_):
        request = RecallRequest(round=round_, attempt=1, update_sha256=UPDATES[round_])
        return asyncio.run(self.states.recall("a", request))


@pytest.fixture
def hub():
    return Hub()


def test_a_state_comes_back_as_it_was_put(hub):
    hub.committed(3)
    hub.put(hub.request(3))
    recalled = hub.recalled(3)
    assert (recalled.round, recalled.update_sha256) == (3, UPDATES[3])
    assert (recalled.state.sha256, recalled.state.size) == (hashlib.sha256(b"state").hexdigest(), 5)


def test_before_its_update_is_taken_and_after_that_was_committed_alone(hub):
    hub.put(hub.request())
    hub.engine.state, _ = accept(hub.engine.state, "a")
    hub.committed(3)
    for round_, values in [(2, {}), (4, {}), (3, {"attempt": 2}), (3, {"update_sha256": UPDATES[5]})]:
        with pytest.raises(RequestRefusedError) as refused:
            hub.asked(hub.request(round_, **values))
        assert refused.value.refusal.code == "StaleRound"


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [4, 3]), (3, [4, 3, 2])])
def test_the_last_ones_are_kept(hub, keep, left):
    for round_ in range(2, 5):
        hub.committed(round_)
        hub.put(hub.request(round_, keep_last=keep))
    assert hub.rounds() == left


@pytest.mark.parametrize(("keep", "left"), [(1, [2, 1]), (2, [2, 1]), (3, [4, 2, 1])])
def test_the_state_of_the_last_commit_stays_whatever_is_tried_after_it(hub, keep, left):
    """Here it is round 2, to which the hub went back; round 1 is open once more."""
    for round_ in (2, 3, 4):
        hub.committed(round_)
        hub.put(hub.request(round_, keep_last=9))
    hub.committed(2)
    hub.put(hub.request(keep_last=keep))
    assert hub.rounds() == left


def test_both_tries_of_an_attempt_stay_while_either_may_be_taken(hub):
    """A pod that was given up may hand in what it trained, while the one after it entrusts its own."""
    hub.committed(3)
    for sha256 in (UPDATES[1], UPDATES[2]):
        hub.put(hub.request(update_sha256=sha256, keep_last=1))
    hub.put(hub.request(3, keep_last=1))
    assert [said.update_sha256 for said, _ in hub.states._all("a")] == [UPDATES[3], UPDATES[1], UPDATES[2]]


def test_what_was_put_twice_is_there_once_in_the_end(hub):
    hub.committed(3)
    first, second = hub.request(3), hub.request(3, b"the same, by another key")
    keys = [hub.asked(request).object.key for request in (first, second)]
    for key, data in zip(keys, (b"state", b"the same, by another key"), strict=True):
        hub.store.put_once(key, data)
    assert hub.asked(second) is None
    assert hub.rounds() == [3, 3]
    hub.committed(4)
    hub.put(hub.request(4, keep_last=1))
    assert hub.rounds() == [4]


def test_what_is_put_and_never_confirmed_does_not_pile_up(hub):
    for round_ in range(2, 7):
        hub.committed(round_)
        hub.store.put_once(hub.asked(hub.request(round_)).object.key, b"state")
    assert hub.rounds() == [6, 5, 4], "those that it wants kept, and the one on its way"


def test_what_is_not_there_is_refused_with_what_is(hub):
    with pytest.raises(RequestRefusedError, match="none at all"):
        hub.recalled(3)
    hub.committed(2)
    hub.put(hub.request(2))
    with pytest.raises(RequestRefusedError, match="but those of rounds 2"):
        hub.recalled(3)


def test_one_that_is_too_large_is_refused(hub):
    hub.committed(3)
    most = entrusting.MODELS * hub.engine.state.tip.model.size + entrusting.EXTRA_BYTES
    assert hub.asked(hub.request(3, size=most))
    with pytest.raises(RequestRefusedError, match="4 times the model"):
        hub.asked(hub.request(3, size=most + 1))


def test_different_ones_between_two_commits_are_few(hub):
    """Updates that are granted meanwhile change nothing about that."""
    hub.committed(3)
    for number in range(16):
        assert hub.asked(hub.request(3, str(number).encode()))
    with pytest.raises(RequestRefusedError, match="16 different objects were granted for no attempt"):
        hub.asked(hub.request(3, b"one more"))
    assert hub.asked(hub.request(3, b"15")), "the same once more"
