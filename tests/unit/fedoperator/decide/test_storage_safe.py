"""StorageSafe: what the aggregator found of the bucket's settings, of which nothing that is unknown is ever missing."""

import shlex
from datetime import timedelta

import pytest

from fedapi.wire import location
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

S3 = {"s3": {"bucket": "fedloom-models", "prefix": "hospital", "region": "eu-central-1"}}
WHERE = "s3://fedloom-models/hospital"


def finding(requirement, topic, state="Missing"):
    return {"requirement": requirement, "topic": topic, "state": state, "message": "why"}


PUBLIC = finding("no public access", "PublicAccess")
VERSIONS = finding("versions are kept", "Versioning")
LOGS = finding("access is logged", "Logging")
UNKNOWN = finding("encrypted by default (SSE-KMS)", "Encryption", "Unknown")
CANNOT = finding("superseded models become cold", "Lifecycle", "Cannot")


def decided(found, *, checked=60, now=s.NOW, before=(), storage=S3, **status):
    told = {} if found is None else {"storage": {"checkedTime": s.ago(checked), "kept": 9, "findings": found}}
    more = {"conditions": list(before)} if before else {}
    started = s.STARTED | more
    job = s.job(started | s.in_round() | told | status, storage=storage)
    return decide(s.observe(job, children=s.live_children(s.observe(s.job(storage=storage)))), now)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, ("Unknown", "NotCheckedYet", "the aggregator has not looked at the bucket yet")),
        ([], ("True", "Safe", "meets the 9 requirements")),
        (
            [LOGS, VERSIONS, PUBLIC],
            ("False", "PublicAccessAllowed", "no public access, versions are kept, access is logged"),
        ),
        ([UNKNOWN, VERSIONS, CANNOT], ("False", "VersioningMissing", "does not meet: versions are kept; see")),
        ([UNKNOWN, CANNOT], ("Unknown", "SettingsUnreadable", "encrypted by default (SSE-KMS)")),
        ([CANNOT], ("Unknown", "SettingsUnsupported", "superseded models become cold")),
    ],
)
def test_what_is_missing_weighs_most_then_what_is_unknown(found, expected):
    status, reason, message = s.condition(decided(found), "StorageSafe")
    assert (status, reason) == expected[:2]
    assert expected[2] in message
    assert found is None or WHERE in message
    if status == "False":
        assert "`fedloom storage check" in message


def test_what_the_job_may_lack_is_not_held_against_it():
    allowed = S3 | {"mayLack": ["access is logged", "superseded models become cold"]}
    assert s.condition(decided([LOGS, CANNOT], storage=allowed), "StorageSafe")[:2] == ("True", "Safe")


def test_the_way_out_can_be_typed_as_it_is():
    s3 = S3["s3"] | {"endpoint": "https://minio.lab:9000", "kmsKeyID": "key 1"}
    asked = {"s3": s3, "residency": ["eu-central-1"], "mayLack": ["access is logged"]}
    message = s.condition(decided([VERSIONS, LOGS], storage=asked), "StorageSafe")[2]
    command = message.partition("`")[2].partition("`")[0]
    fedloom, storage, check, where, *options = shlex.split(command)
    assert (fedloom, storage, check) == ("fedloom", "storage", "check")
    assert location.parsed(where) == location.S3(
        "fedloom-models", "hospital", "eu-central-1", "https://minio.lab:9000", "key 1"
    )
    assert options == ["--region", "eu-central-1", "--may-lack", "access is logged"]


def test_what_was_found_long_ago_is_unknown_and_the_clock_says_when():
    decision = decided([VERSIONS])
    assert decision.requeue_after is not None
    assert decision.requeue_after <= timedelta(days=2).total_seconds() - 60
    found = s.condition(decided([VERSIONS], now=s.NOW + timedelta(days=2)), "StorageSafe")
    assert found[:2] == ("Unknown", "CheckOverdue")


def test_a_setting_that_goes_is_an_event_and_stops_nothing():
    decision = decided([PUBLIC])
    (event,) = [each for each in decision.events if each.reason == "StorageUnsafe"]
    assert event.type == "Warning"
    assert "PublicAccessAllowed" in event.message
    assert s.condition(decision, "StorageReady")[0] == "True"
    told = next(c for c in decision.status["conditions"] if c["type"] == "StorageSafe")
    again = decided([PUBLIC], before=[told])
    assert "StorageUnsafe" not in [each.reason for each in again.events]
    better = decided([], before=[told])
    assert ("Normal", "StorageSafe") in [(each.type, each.reason) for each in better.events]


def test_an_ended_job_and_one_with_a_volume():
    ended = decided([PUBLIC], outcome=s.outcome()["outcome"])
    assert s.condition(ended, "StorageSafe")[:2] == ("Unknown", "Finished")
    assert "StorageSafe" not in {c["type"] for c in decided(None, storage={}).status["conditions"]}
