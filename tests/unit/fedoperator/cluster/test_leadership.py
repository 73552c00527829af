"""Giving the Lease up: it is free then, whatever the election's thread does at that moment."""

import threading
from datetime import datetime
from types import SimpleNamespace

import pytest
from kubernetes.leaderelection.leaderelectionrecord import LeaderElectionRecord

from fedoperator.cluster.leadership import Election, LeaseLock
from fedoperator.errors import GoneError, RetryLaterError
from tests.waiting import PATIENCE_S, until

SETTINGS = SimpleNamespace(
    lease_name="l", namespace="ns", pod_name="me", lease_duration_s=600, lease_renew_deadline_s=500, lease_retry_s=1
)
BLOCKED_S = 0.2  # whoever can go on has done so


class Server:
    """One Lease, as an API server has it; `after` lets something happen between a request of a method and its answer."""

    def __init__(self):
        self.lease, self.after, self.requests, self.over = None, {}, [], False

    def with_timeout(self, _):
        return self

    def request(self, method, path, body=None, **_):
        if self.over:
            raise RuntimeError("the test is over")  # ends the thread that asks
        self.requests.append(method)
        answer = self.answer(method, body)
        if act := self.after.pop(method, None):
            act()
        return answer

    def answer(self, method, body):
        if method == "POST":
            self.lease = body | {"metadata": body["metadata"] | {"resourceVersion": "1"}}
        elif self.lease is None:
            raise GoneError("not found")
        elif method == "PUT":
            version = self.lease["metadata"]["resourceVersion"]
            if body["metadata"]["resourceVersion"] != version:
                raise RetryLaterError("the object has been modified", conflict=True)
            self.lease = body | {"metadata": body["metadata"] | {"resourceVersion": str(int(version) + 1)}}
        return self.lease

    @property
    def holder(self):
        return (self.lease or {}).get("spec", {}).get("holderIdentity")


def standing(server):
    """Who tries as often as the test's machine can."""
    election = Election(server, SETTINGS, lambda: None)
    election._election.election_config.retry_period = 0.001
    return election


def record():
    now = str(datetime.now())  # noqa: DTZ005 - the library's times are naive
    return LeaderElectionRecord("me", "600", now, now)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.over = True


@pytest.fixture
def held(server):
    lock = LeaseLock(server, "l", "ns", "me")
    assert lock.create("l", "ns", record())
    assert server.holder == "me"
    return lock


def elsewhere(act, within_s=PATIENCE_S):
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(within_s)
    return thread


def test_a_renewal_does_not_come_between(server, held):
    assert held.get("l", "ns")[0]
    server.after["GET"] = lambda: elsewhere(lambda: held.update("l", "ns", record()))
    assert held.release()
    assert server.holder is None


def test_a_renewal_that_had_no_answer_and_arrives_late_is_met(server, held):
    server.after["GET"] = lambda: server.answer("PUT", server.lease)
    assert held.release()
    assert server.holder is None


def test_it_is_not_taken_again(server, held):
    assert held.release()
    assert held.get("l", "ns")[0]
    assert not held.update("l", "ns", record())
    assert not held.create("l", "ns", record())
    assert server.holder is None


def test_one_that_is_just_being_taken_is_given_up(server):
    election = standing(server)
    stopping = []
    server.after["POST"] = lambda: stopping.append(elsewhere(election.stop, BLOCKED_S))
    election.start()
    until(lambda: stopping)
    stopping[0].join(PATIENCE_S)
    assert server.requests.count("POST") == 1
    assert server.holder is None


def test_one_that_leads_gives_it_up_for_good(server):
    election = standing(server)
    election.start()
    assert election.leading.wait(PATIENCE_S)
    election.stop()
    seen = len(server.requests)
    until(lambda: len(server.requests) > seen + 2)
    assert server.holder is None


def test_who_never_wrote_it_asks_nothing(server):
    standing(server).stop()
    assert server.requests == []


def test_another_ones_is_left_alone(server, held):
    server.lease["spec"]["holderIdentity"] = "another"
    assert not held.release()
    assert server.holder == "another"
