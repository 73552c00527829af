"""What can go wrong with a job's bucket: the round waits, the object is named, and the model is that of a quiet run."""

import time

import httpx
import pytest
from safetensors.numpy import save

from fedapi.outcome import Exit
from tests.chaos.fedaggregator.test_killed_aggregator import BETWEEN_LOOKS
from tests.integration.fedaggregator.buckets import beside, job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites, small_model
from tests.servers import faulty
from tests.servers.faulty import Fault, refused
from tests.waiting import PATIENCE_S, until

CLIENTS = ("a", "b")
DEADLINE_S = 30.0  # longer than an outage may take to be noticed


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("quiet"), config(CLIENTS, rounds=2))
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


@pytest.fixture
def proxy(minio, tmp_path):
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        yield proxy


def both(job: JobFolder) -> list[Site]:
    """The sites of the quiet run."""
    return [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]


def ordered(job: JobFolder) -> tuple[list[Site], list]:
    """Both sites, and their orders of the first round."""
    sites = both(job)
    for site in sites:
        site.next(0.0)
    return sites, [site.next().train for site in sites]


def finish(job: JobFolder, sites: list[Site]) -> None:
    threads = [site.start() for site in sites]
    for thread, site in zip(threads, sites, strict=True):
        thread.join(PATIENCE_S)
        assert site.error is None
    until(lambda: "outcome" in job.status())
    assert job.status()["outcome"]["result"] == "Succeeded"
    assert "trouble" not in job.status()


def models(job: JobFolder) -> list[str]:
    return [commit.model.sha256 for commit in job.commits()]


def test_a_store_that_is_down_delays_the_round_beyond_its_deadline(tmp_path, proxy, quiet):
    job = job_in(proxy.server, tmp_path / "job", rounds=2, deadline_s=DEADLINE_S)
    with Aggregator(job).ready():
        sites, orders = ordered(job)
        sites[0].take_part(orders[0])
        proxy.down()
        until(lambda: "trouble" in job.status())
        assert "the store cannot be written" in job.status()["trouble"]
        until(lambda: time.time() > orders[1].deadline + 2)
        assert job.status()["round"]["attempt"] == 1
        proxy.up()
        finish(job, sites)
    assert [commit.attempt for commit in job.commits()] == [0, 1, 1]
    assert models(job) == quiet


def test_a_restart_while_the_store_is_down_loses_nothing(tmp_path, proxy, quiet):
    job = job_in(proxy.server, tmp_path / "job", rounds=2)
    with Aggregator(job).ready() as aggregator:
        sites, orders = ordered(job)
        sites[0].take_part(orders[0])
        proxy.down()
        aggregator.process.kill()
        aggregator.wait()
    with Aggregator(job) as blind:
        assert blind.wait() == Exit.STORE_FAILED
    assert "look at its volume" in (job.root / "termination.log").read_text()
    proxy.up()
    with Aggregator(job).ready():
        finish(job, sites)
    assert models(job) == quiet
    assert sites[0].trained == [(1, 1), (2, 1)]


def test_storms_and_lost_answers_are_waited_out(tmp_path, proxy, quiet):
    """Every third write of the aggregator is refused, each first PUT by URL is done and not answered."""
    job = job_in(proxy.server, tmp_path / "job", rounds=2)
    answered: set[str] = set()
    writes = iter(range(1 << 30))

    def fault(request):
        if request.method != "PUT":
            return None
        if "X-Amz-Signature" not in request.target:
            return refused(503, "SlowDown") if next(writes) % 3 == 0 else None
        key = request.target.partition("?")[0]
        if key in answered:
            return None
        answered.add(key)
        return Fault(lost_answer=True)

    proxy.fault = fault
    with Aggregator(job).ready():
        finish(job, both(job))
    assert models(job) == quiet
    assert len(answered) == 5  # the initial model, and two updates in each of two rounds


def test_rights_that_are_taken_away_are_told_by_name_and_end_the_process_in_the_end(tmp_path, proxy, quiet):
    job = job_in(proxy.server, tmp_path / "job", rounds=2)
    with Aggregator(job).ready() as aggregator:
        sites, orders = ordered(job)
        sites[0].take_part(orders[0])
        proxy.fault = lambda request: refused(403, "AccessDenied") if "X-Amz-Signature" not in request.target else None
        until(lambda: "trouble" in job.status())
        assert "the store denies access" in job.status()["trouble"]
        assert "AccessDenied" in job.status()["trouble"]
        aggregator.process.terminate()
        aggregator.wait()
    with Aggregator(job) as denied:
        assert denied.wait() == Exit.STORE_DENIED
    assert "look at its credentials" in (job.root / "termination.log").read_text()
    proxy.fault = lambda _: None
    with Aggregator(job).ready():
        finish(job, sites)
    assert models(job) == quiet


@pytest.mark.parametrize("how", ["deleted", "flipped"])
def test_an_accepted_update_that_is_lost_in_the_bucket_is_named_and_asked_for_again(tmp_path, minio, quiet, how):
    job = job_in(minio, tmp_path / "job", rounds=2)
    with Aggregator(job).ready() as aggregator:
        sites, orders = ordered(job)
        sites[0].take_part(orders[0])
        (key,) = (key for key in job.store.keys("updates/") if key.endswith(".safetensors"))
        spoilt(job, key, how)
        sites[1].take_part(orders[1])
        until(lambda: "damaged object" in aggregator.log())
        assert key in aggregator.log()
        finish(job, sites)
    assert models(job) == quiet
    assert sites[0].trained == [(1, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("how", ["deleted", "flipped"])
def test_a_model_that_is_lost_in_the_bucket_ends_the_job_s_aggregator_by_name(tmp_path, minio, how):
    job = job_in(minio, tmp_path / "job", rounds=2)
    with Aggregator(job).ready():
        sites, orders = ordered(job)
        for site, order in zip(sites, orders, strict=True):
            site.take_part(order)
        until(lambda: job.head().round == 1)
    key = job.commits()[-1].model.key
    spoilt(job, key, how)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED
    assert key in (job.root / "termination.log").read_text()


def test_what_was_put_by_url_and_is_something_else_is_found_before_it_is_parsed(tmp_path, minio, quiet):
    """The bucket is written behind the site's back between its PUT and its manifest."""
    job = job_in(minio, tmp_path / "job", rounds=2)
    with Aggregator(job).ready():
        sites, orders = ordered(job)
        data = save(small_model())
        grant = sites[0].grant(orders[0], data)
        other = sites[0].at(grant).put(grant.url, content=data[:-1] + b"x", headers=grant.headers)
        assert other.status_code >= 400  # the store checks what the URL binds
        sites[0].at(grant).put(grant.url, content=data, headers=grant.headers).raise_for_status()
        spoilt(job, grant.object.key, "flipped")
        answer = sites[0].post("updates", sites[0].manifest(orders[0], grant))
        assert (answer.status_code, answer.json()["code"]) == (410, "Missing")
        assert job.store.size(grant.object.key) is None
        finish(job, sites)
    assert models(job) == quiet


def test_an_expired_url_is_renewed(tmp_path, proxy, quiet):
    """The first answer to each site's GET and PUT is what a store says of a URL whose time is over."""
    job = job_in(proxy.server, tmp_path / "job", rounds=2)
    late: set[tuple[str, str]] = set()

    def fault(request):
        what = request.method, request.target.partition("?")[0]
        if "X-Amz-Signature" not in request.target or what in late:
            return None
        late.add(what)
        return refused(403, "AccessDenied")

    proxy.fault = fault
    with Aggregator(job).ready():
        finish(job, both(job))
    assert models(job) == quiet
    assert len(late) == 8  # three models, five uploads


def test_a_url_whose_time_is_over_is_refused_by_the_store_itself(tmp_path, minio, quiet):
    job = job_in(minio, tmp_path / "job", rounds=2, env={"FEDLOOM_URL_LIFETIME_S": "2"})
    with Aggregator(job).ready():
        sites, orders = ordered(job)
        grant = sites[0].grant(orders[0], data := save(small_model()))
        until(lambda: time.time() > grant.expires_at + 1)
        for answer in (
            sites[0].at(grant).put(grant.url, content=data, headers=grant.headers),
            sites[0].at(grant).get(orders[0].model.url),
        ):
            assert answer.status_code == 403
        until(lambda: sites[0].download(sites[0].next().train.model), not_yet=(httpx.HTTPStatusError,))  # over again
        finish(job, sites)
    assert models(job) == quiet


def test_of_two_aggregators_the_older_one_stops(tmp_path, minio, quiet):
    old = job_in(minio, tmp_path / "old", rounds=2)
    with Aggregator(old, BETWEEN_LOOKS).ready() as first:
        sites, orders = ordered(old)
        new = beside(old, tmp_path / "new")
        with Aggregator(new).ready() as second:
            for site, order in zip(sites, orders, strict=True):
                site.take_part(order)  # to the old one: it can fold, but not commit
            assert first.wait() == Exit.SUPERSEDED
            for site in sites:
                again = Site(new, site.client)
                site.job, site.http, site.elsewhere = new, again.http, None
            finish(new, sites)
            assert second.process.poll() is None
    assert models(new) == quiet
    assert [commit.epoch for commit in new.commits()] == [1, 2, 2]


def spoilt(job: JobFolder, key: str, how: str) -> None:
    """What somebody with rights to the bucket can do to it."""
    data = job.store.get(key)
    job.store.delete(key)
    if how == "flipped":
        job.store.bucket.put(job.store.name(key), bytes([data[-1] ^ 1]).join((data[:-1], b"")), None, {})
