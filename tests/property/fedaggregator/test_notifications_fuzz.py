"""Notifications of a bucket that are almost right, as whoever may write the queue can send them: keys, or none."""

import json

from fedaggregator.queued import arrivals
from fedapi.wire.location import S3
from tests.property.mutations import check

WHERE = S3(bucket="b", prefix="p")
CREATED = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "p/updates/a%20b"}}}
SAMPLES = [
    json.dumps({"Records": [CREATED]}).encode(),
    json.dumps({"Records": [CREATED, {**CREATED, "eventName": "ObjectRemoved:Delete"}, CREATED]}).encode(),
]


def test_a_notification_names_keys_or_none():
    assert arrivals.keys(SAMPLES[0].decode(), WHERE) == ("updates/a b",)
    check(lambda data: arrivals.keys(data.decode("utf-8", "replace"), WHERE), SAMPLES, examples=300)
