"""What was issued to whom: once for each object and holder, bounded, and never the URL."""

import asyncio

import pytest

from fedaggregator.engine import issues as issues_module
from fedaggregator.engine.issues import Issues, Recorded
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.delivery import SignedUrls
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.ports import Holder
from fedapi.wire.commit import CommitRecord
from fedapi.wire.issues import IssueRecord
from fedapi.wire.message import ObjectRef
from fedstore.memory import MemoryStore

MODEL = ObjectRef(key="models/m", sha256="a" * 64, size=10)
COMMIT = CommitRecord(job_uid="uid", round=2, attempt=1, epoch=1, model=MODEL, planned_at=1.0, committed_at=2.0)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def issues(clock):
    return Issues(clock, lambda *_: None)


@pytest.fixture
def delivery(issues, clock):
    return Recorded(SignedUrls(UrlSigner(b"k" * 32, "https://hub:8443", 60.0), MemoryStore(), clock), issues)


def update(number):
    return ObjectRef(key=f"updates/u{number}", sha256=f"{number:064x}", size=number)


def test_a_record_names_objects_and_holders_and_no_url(issues, delivery, clock):
    for client in ("b", "a", "b"):
        clock.now += 10
        asyncio.run(delivery.offer(MODEL, Holder(client)))
    grant = asyncio.run(delivery.grant(update(1), Holder("a", 2, 1)))
    record = issues.taken(COMMIT).sealed()
    assert IssueRecord.stored(record.canonical()) == record
    assert (record.job_uid, record.round, record.attempt, record.since, record.until) == ("uid", 2, 1, 1000.0, 1030.0)
    assert [(i.method, i.object, i.holders) for i in record.issues] == [
        ("GET", MODEL, {"b/0/0": 1090.0, "a/0/0": 1080.0}),
        ("PUT", update(1), {"a/2/1": 1090.0}),
    ]
    signature = grant.url.rpartition("=")[2]
    assert signature not in record.canonical().decode()
    assert issues.taken(COMMIT) is None


def test_a_site_is_granted_few_different_objects_for_an_attempt(delivery, issues):
    holder = Holder("a", 2, 1)
    for number in range(16):
        asyncio.run(delivery.grant(update(number), holder))
    asyncio.run(delivery.grant(update(3), holder))  # the same again
    with pytest.raises(RequestRefusedError, match="16 different objects were granted for this attempt") as told:
        asyncio.run(delivery.grant(update(16), holder))
    assert told.value.refusal.code == "TooLarge"
    asyncio.run(delivery.grant(update(16), Holder("a", 2, 2)))
    assert len(issues.taken(COMMIT).issues) == 17


def test_more_than_a_record_may_hold_is_counted(issues, monkeypatch):
    monkeypatch.setattr(issues_module, "_MOST_HOLDERS", 3)
    for number in range(5):
        issues.note("GET", MODEL, Holder(f"s{number}"), 1.0)
    issues.note("GET", MODEL, Holder("s0"), 9.0)
    record = issues.taken(COMMIT)
    assert (record.issues[0].holders, record.omitted) == ({"s0/0/0": 9.0, "s1/0/0": 1.0, "s2/0/0": 1.0}, 2)


def test_a_job_whose_attempts_fail_for_ever_costs_no_memory(issues, monkeypatch):
    monkeypatch.setattr(issues_module, "_MOST_HOLDERS", 3)
    for attempt in range(1, 100):
        issues.note("PUT", update(attempt), Holder("a", 2, attempt), 1.0)
    for number in range(100, 115):
        issues.check_room(update(number), Holder("a", 2, 99))
        issues.note("PUT", update(number), Holder("a", 2, 99), 1.0)
    with pytest.raises(RequestRefusedError):
        issues.check_room(update(115), Holder("a", 2, 99))
    assert len(vars(issues)["_uploads"]) == 1
    record = issues.taken(COMMIT)
    assert (len(record.issues), record.omitted) == (3, 111)
