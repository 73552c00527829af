"""What is read of a bucket's notifications: keys of the job's own prefix, and nothing of anything else."""

import json

import pytest

from fedaggregator.queued.arrivals import keys
from fedapi.wire.location import S3

WHERE = S3("models", "jobs/a")


def record(key="jobs/a/updates/x", bucket="models", event="ObjectCreated:Put"):
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3}}}


def body(*records):
    return json.dumps({"Records": records})


def test_created_objects_of_the_prefix_are_named_below_it():
    assert keys(body(record()), WHERE) == ("updates/x",)
    assert keys(body(record("jobs/a/updates/a+b%3Dc"), record("jobs/a/y")), WHERE) == ("updates/a b=c", "y")
    assert keys(body(record(event="s3:ObjectCreated:CompleteMultipartUpload")), WHERE) == ("updates/x",)
    assert keys(body(record("k")), S3("models")) == ("k",)


@pytest.mark.parametrize(
    "text",
    [
        body(record(bucket="others")),
        body(record("jobs/ab/updates/x")),
        body(record(event="ObjectRemoved:Delete")),
        '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "models"}',
        '{"Records": [{}]}',
        '{"Records": [{"eventName": 3}]}',
        '{"Records": 7}',
        "[]",
        "nonsense",
        "[" * 100_000,
        "",
    ],
)
def test_what_is_foreign_or_no_notification_names_nothing(text):
    assert keys(text, WHERE) == ()
