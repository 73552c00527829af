"""The store's volume is full: sites are told to try again, commits wait a bounded time, nothing is lost."""

import contextlib
from pathlib import Path

import httpx
import pytest

from fedapi.outcome import Exit
from tests.integration.aggregator.harness import Aggregator, JobFolder, Site, config, until

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
    with Aggregator(job, LIMITED).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        order = a.next(5.0).train
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
        b.take_part(b.next(5.0).train)
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(30)
    assert job.head().finished == "Succeeded"


def test_a_commit_waits_and_gives_up_in_bounded_time_and_nothing_is_lost(job):
    with Aggregator(job, LIMITED).ready() as aggregator:
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        orders = [a.next(5.0).train, b.next(5.0).train]
        a.take_part(orders[0])
        data = b.download(orders[1].model)
        b.evaluate(0, orders[1].model)
        grant = b.grant(orders[1], data)
        b.http.put(grant.url, content=data).raise_for_status()
        # The manifest is the last thing that fits.
        trap = job.root / "store" / job.layout.manifest("b", 1, 1)
        import threading

        def full_after_the_manifest():
            while not trap.exists():
                pass
            (job.root / "full").touch()

        thread = threading.Thread(target=full_after_the_manifest)
        thread.start()
        with contextlib.suppress(httpx.TransportError):
            b.post("updates", b.manifest(orders[1], grant))
        thread.join()
        ended = aggregator.wait(30) if not committed(job) else None
        if ended is not None:
            assert ended == Exit.STORE_FAILED
            until(lambda: "store cannot be written" in aggregator.log())
            assert not list((job.root / "store" / ".tmp").iterdir())
    free_quietly(job)
    with Aggregator(job, LIMITED).ready():
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(30)
    assert job.head().finished == "Succeeded"
    assert a.trained == [(1, 1), (2, 1)]
    assert [tuple(p.client for p in c.participants) for c in job.commits()] == [(), ("a", "b"), ("a", "b")]


def committed(job: JobFolder) -> bool:
    return job.head().round >= 2


def free_quietly(job: JobFolder) -> None:
    (job.root / "full").unlink(missing_ok=True)
    (job.root / "full.seen").unlink(missing_ok=True)
