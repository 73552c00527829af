"""The store's volume is full: sites are told to try again, commits wait a bounded time, nothing is lost."""

import contextlib
from pathlib import Path

import httpx
import pytest

from fedapi.outcome import Exit
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until

LIMITED = str(Path(__file__).with_name("limited_disk.py"))


@pytest.fixture
def job(tmp_path):
    flag = tmp_path / "full"
    made = JobFolder(tmp_path, config(("a", "b"), rounds=2))
    made.extra_env = {"FULL_WHILE": str(flag), "FEDLOOM_STORE_RETRY_S": "3"}
    return made


def fill(job: JobFolder) -> None:
    (job.root / "full").touch()
    until((job.root / "full.seen").exists)


def free(job: JobFolder) -> None:
    (job.root / "full").unlink()
    until(lambda: not (job.root / "full.seen").exists())


def test_a_site_is_told_to_send_again(job):
    job.extra_env["FEDLOOM_STORE_RETRY_S"] = "600"  # the ledger may be due while the disk is full
    with Aggregator(job, LIMITED).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        order = a.next().train
        data = a.download(order.model)
        grant = a.grant(order, data)
        fill(job)
        refused = a.http.put(grant.url, content=data)
        assert (refused.status_code, refused.json()["code"]) == (503, "StoreFull")
        free(job)
        a.http.put(grant.url, content=data).raise_for_status()
        fill(job)
        refused = a.post("updates", a.manifest(order, grant))
        assert (refused.status_code, refused.json()["code"]) == (503, "StoreFull")
        free(job)
        a.post("updates", a.manifest(order, grant)).raise_for_status()
        order = b.next().train
        fill(job)
        refused = b.upload(order, data)
        assert (refused.status_code, refused.json()["code"]) == (503, "StoreFull")
        free(job)
        b.take_part(order)
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(PATIENCE_S)
        until(lambda: job.head().finished == "Succeeded")


def test_a_commit_waits_and_gives_up_in_bounded_time_and_nothing_is_lost(job):
    # The manifest that completes the round is the last thing that fits: the fold finds no room.
    job.extra_env["FULL_AFTER"] = str(job.root / "store" / job.layout.manifest("b", 1, 1))
    with Aggregator(job, LIMITED).ready() as aggregator:
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        orders = [a.next().train, b.next().train]
        a.take_part(orders[0])
        with contextlib.suppress(httpx.TransportError):  # the process may end before it has answered
            b.take_part(orders[1])
        assert aggregator.wait() == Exit.STORE_FAILED
        until(lambda: "store cannot be written" in aggregator.log())
        assert not list((job.root / "store" / ".tmp").iterdir())
    assert job.head().round == 0
    del job.extra_env["FULL_AFTER"]
    free_quietly(job)
    with Aggregator(job, LIMITED).ready():
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(PATIENCE_S)
        until(lambda: job.head().finished == "Succeeded")
    assert a.trained == [(1, 1), (2, 1)]
    assert [tuple(p.client for p in c.participants) for c in job.commits()] == [(), ("a", "b"), ("a", "b")]


def free_quietly(job: JobFolder) -> None:
    (job.root / "full").unlink(missing_ok=True)
    (job.root / "full.seen").unlink(missing_ok=True)
