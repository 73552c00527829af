"""The look at the bucket's settings: facts for the status, and nothing that ends or delays the job."""

import asyncio

import pytest

from fedaggregator.bucketcheck import BucketCheck, facts, look_at
from fedstore.care.wanted import Finding
from fedstore.errors import StoreDeniedError

KEPT = Finding("versions are kept", "Versioning", "kept")
MISSING = Finding("no public access", "PublicAccess", "missing", "the public is not kept out")
UNKNOWN = Finding("access is logged", "Logging", "unknown", "AccessDenied: no")


def test_facts_name_what_is_not_kept():
    found = facts((KEPT, MISSING, UNKNOWN), 1_700_000_000.0).dump()
    assert found["checkedTime"] == "2023-11-14T22:13:20Z"
    assert found["kept"] == 1
    assert [(each["requirement"], each["topic"], each["state"]) for each in found["findings"]] == [
        ("no public access", "PublicAccess", "Missing"),
        ("access is logged", "Logging", "Unknown"),
    ]


@pytest.mark.parametrize("trouble", [StoreDeniedError("AccessDenied"), KeyError("a surprise of an SDK")])
def test_a_look_that_fails_ends_nothing_and_tells_nothing(trouble):
    def look():
        raise trouble

    async def run():
        check = BucketCheck(look, lambda: pytest.fail("no news"), lambda: 0.0)
        running = asyncio.create_task(check.run())
        await check.first_look(60)
        assert check.found is None
        assert not running.done(), "it is tried again"
        running.cancel()

    asyncio.run(run())


def test_a_look_that_succeeds_is_news():
    async def run():
        news = []
        check = BucketCheck(lambda: (KEPT,), lambda: news.append(1), lambda: 0.0)
        running = asyncio.create_task(check.run())
        await check.first_look(60)
        assert news == [1]
        assert check.found.kept == 1
        running.cancel()

    asyncio.run(run())


def test_a_volume_has_no_settings():
    assert look_at("/var/lib/store", None, ()) is None
    assert look_at("memory:x", None, ()) is None
    assert look_at("s3://b/p", None, ()) is not None
