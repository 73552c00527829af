"""What is read of a bucket's notifications: keys of the job's own prefix, and nothing of anything else."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from fedaggregator.queued.arrivals import LookedAt, keys
from fedapi.wire.layout import Layout
from fedapi.wire.location import S3
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds.state import Phase
from fedstore.memory import MemoryStore

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


def test_a_hint_never_deletes_what_may_be_put_right_meanwhile():
    class Bucket(MemoryStore):
        def arrived(self, ref):
            return "" if self.get(ref.key) == b"right" else "its SHA-256 is another"

    async def blocking(work, *arguments):
        return work(*arguments)

    layout, bucket = Layout("ns", "job", "uid"), Bucket()
    attempt = SimpleNamespace(plan=SimpleNamespace(round=1), selected=lambda _: True, accepted={})
    config = SimpleNamespace(strategy=StrategySettings())
    state = SimpleNamespace(layout=layout, phase=Phase.COLLECTING, current=attempt, accepted={}, config=config)
    looked = LookedAt(delivery := Delivery(), bucket, SimpleNamespace(state=state, blocking=blocking))
    for number, content in enumerate((b"wrong", b"right")):
        key = layout.update("berlin", 1, sha256 := str(number) * 64)
        bucket.put_once(key, content)
        assert asyncio.run(looked.look(key))
        assert bucket.get(key) == content
        looked.arrived(ObjectRef(key=key, sha256=sha256, size=5))
    assert [ref.key for ref in delivery.asked] == [layout.update("berlin", 1, "0" * 64)], "the right one is known"


class Delivery:
    """Who is asked at the hand-in."""

    offer = grant = None

    def __init__(self):
        self.asked = []

    def arrived(self, upload):
        self.asked.append(upload)
