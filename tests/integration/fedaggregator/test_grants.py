"""A grant dies with its attempt: what was signed for an earlier one, or for a site that has left, stores nothing more."""

from urllib.parse import urlsplit

import pytest
from safetensors.numpy import save

from fedapi.wire.roster import RosterEntry
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, small_model, until
from tests.integration.fedaggregator.raw import connected

DATA = save(small_model())


@pytest.fixture
def job(tmp_path):
    job = JobFolder(tmp_path, config(rounds=2, quorum=1, deadline_s=600, max_failures=5))
    with Aggregator(job).ready():
        for client in ("a", "b"):
            Site(job, client).next(0.0)
        yield job


def put(site: Site, grant) -> tuple[int, str]:
    response = site.http.put(grant.url, content=DATA)
    return response.status_code, response.json()["code"] if response.content else ""


def stored(job: JobFolder, client: str) -> int:
    return len(list((job.root / "store" / "updates").rglob(f"client_{client}_*.safetensors")))


def finish_round(job: JobFolder, number: int) -> None:
    site = Site(job, "a")
    site.take_part(site.next().train).raise_for_status()
    other = Site(job, "b")
    other.fail(other.next().train)
    until(lambda: job.head().round == number)


def test_of_an_earlier_round_and_of_a_finished_job(job):
    late = Site(job, "b")
    first = late.grant(late.next().train, DATA)
    finish_round(job, 1)
    assert late.next().train.round == 2
    assert put(late, first) == (409, "StaleRound")
    second = late.grant(late.next().train, DATA)
    finish_round(job, 2)
    until(lambda: {Site(job, client).step(0.1) for client in ("a", "b")} == {"Done"})  # they evaluate first
    for grant in (first, second):
        assert put(late, grant) == (409, "StaleRound")
    assert stored(job, "b") == 0


def test_of_an_earlier_attempt(job):
    sites = [Site(job, client) for client in ("a", "b")]
    orders = [site.next().train for site in sites]
    grant = sites[0].grant(orders[0], DATA)
    for site, order in zip(sites, orders, strict=True):
        site.fail(order)
    until(lambda: (sites[0].next(1.0).train or orders[0]).attempt == 2)
    assert put(sites[0], grant) == (409, "StaleAttempt")


def test_under_way_when_its_attempt_ends(job):
    late = Site(job, "b")
    order = late.next().train
    url = urlsplit(late.grant(order, DATA).url)
    with connected(job) as raw:
        raw.send(
            f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(DATA)}\r\n\r\n".encode()
            + DATA[:-1]
        )
        until(lambda: list((job.root / "store" / ".tmp").iterdir()))
        finish_round(job, 1)
        raw.send(DATA[-1:])
        assert raw.status() == 409
    assert stored(job, "b") == 0
    until(lambda: not list((job.root / "store" / ".tmp").iterdir()))


def test_after_the_update_that_counts_and_after_the_site_has_left(job):
    site, leaver = Site(job, "a"), Site(job, "b")
    grant = site.grant(site.next().train, DATA)
    order = leaver.next().train
    other = leaver.grant(order, DATA)
    site.take_part(site.next().train).raise_for_status()
    assert put(site, grant) == (409, "Duplicate")
    job.write_config(job.config.model_copy(update={"roster": (RosterEntry(name="a"),)}))
    until(lambda: leaver.http.get(order.model.url).status_code == 403)
    assert put(leaver, other)[0] in (403, 409)
    assert stored(job, "b") == 0
