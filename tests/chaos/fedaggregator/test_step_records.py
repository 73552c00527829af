"""The store fails at the records of an exchange under masks: the step waits, nobody hears what is not durable, and the model is that of a quiet run."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from fedapi.outcome import Exit
from fedapi.wire.secureround import FILES, SecureAnswer
from tests.chaos.fedaggregator.test_full_disk import LIMITED, fill, free_quietly
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.integration.fedaggregator.masking import STEPS, MaskingSite, masked, masking_sites
from tests.servers import faulty
from tests.servers.faulty import Fault, Request, refused
from tests.waiting import PATIENCE_S, until

CLIENTS = ("a", "b", "c")
RECORDS = {file: step for step, file in FILES.items()} | {"close.json": "Mask"}


def finish(job: JobFolder, sites: Sequence[MaskingSite]) -> None:
    threads = [site.start() for site in sites]
    for thread, site in zip(threads, sites, strict=True):
        thread.join(PATIENCE_S)
        assert site.error is None
        assert not thread.is_alive()
    until(lambda: "outcome" in job.status())
    assert job.status()["outcome"]["result"] == "Succeeded"


def models(job: JobFolder) -> list[str]:
    return [commit.model.sha256 for commit in job.commits()]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("quiet"), config(CLIENTS, rounds=1, **masked(*CLIENTS)))
    with Aggregator(job).ready():
        finish(job, masking_sites(job))
    return models(job)


@dataclass
class Trouble:
    """At the first writes of each record; what sites have been told meanwhile is looked at."""

    sites: Sequence[MaskingSite]
    faults: Sequence[Fault]
    tries: dict[str, int] = field(default_factory=dict)
    early: list[tuple[int, int, str]] = field(default_factory=list)  # what sites were told of before it was durable

    def __call__(self, request: Request) -> Fault | None:
        found = re.search(r"/e\d+-a\d+/(.+\.json)$", request.target.partition("?")[0])
        if request.method != "PUT" or found is None or (name := found[1]) not in RECORDS:
            return None
        tried = self.tries[name] = self.tries.get(name, 0) + 1
        if tried > len(self.faults):
            return None
        later = STEPS[STEPS.index(RECORDS[name]) + 1 :]
        self.early += [told for site in self.sites for told in site.told if told[2] in later]
        return self.faults[tried - 1]


def test_storms_and_lost_answers_are_waited_out(tmp_path, minio, quiet):
    faults = (refused(507, "XMinioStorageFull"), refused(503, "SlowDown"), Fault(lost_answer=True))
    with faulty.before(minio, tmp_path / "proxy") as proxy:
        job = job_in(proxy.server, tmp_path / "job", *CLIENTS, rounds=1, **masked(*CLIENTS))
        with Aggregator(job).ready():
            sites = masking_sites(job)
            proxy.fault = trouble = Trouble(sites, faults)
            finish(job, sites)
        assert models(job) == quiet
        assert [commit.attempt for commit in job.commits()] == [0, 1]
    assert trouble.tries == dict.fromkeys(RECORDS, len(faults) + 1)
    assert trouble.early == []


def test_a_process_that_gives_up_at_each_record_loses_nothing(tmp_path, quiet):
    """The disk is full when the last site speaks. What it said and the others were told holds in the next process."""
    job = JobFolder(tmp_path, config(CLIENTS, rounds=1, **masked(*CLIENTS)))
    job.extra_env = {"FULL_WHILE": str(tmp_path / "full"), "FEDLOOM_STORE_RETRY_S": "1"}
    sites, orders, last = masking_sites(job), {}, 0
    for at, step in enumerate(STEPS):
        if step not in FILES:
            continue
        with Aggregator(job, LIMITED).ready() as aggregator:
            if not orders:
                for site in sites:
                    site.next(0.0)
                orders = {site.client: site.next().train for site in sites}
            for again in STEPS[last:at]:
                for site in sites:
                    say(site, orders, again)
            for site in sites[:-1]:
                say(site, orders, step)
                assert answer(site, orders).step in ("Wait", "Over")
            fill(job)
            with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):  # 503, or no answer any more
                say(sites[-1], orders, step)
            assert aggregator.wait() == Exit.STORE_FAILED
        free_quietly(job)
        assert {site.told[-1][2] for site in sites} <= {step, "Wait", "Over"}
        last = at
    with Aggregator(job, LIMITED).ready():
        finish(job, sites)
    assert models(job) == quiet
    assert [site.trained for site in sites] == [[(1, 1)]] * len(sites)


def answer(site: MaskingSite, orders: dict) -> SecureAnswer:
    return SecureAnswer.told(site.asked(orders[site.client]).content)


def say(site: MaskingSite, orders: dict, step: str) -> None:
    """What the hub waits for, which is that."""
    asked = answer(site, orders)
    assert asked.step == step
    site.go_on(orders[site.client], asked)
