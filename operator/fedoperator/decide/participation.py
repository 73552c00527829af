"""Policy: in how many rounds a site took part, over all jobs. One writer, the operator, from what each job's status says.

A count is added to the totals together with the note of what of its job is in them, in one write: nothing is counted twice, and
a deleted job's rounds stay counted. Written at most once a minute, whatever the pace of the rounds, and when a job ends; where
a job names hundreds of sites, once in as many minutes, so that all of them together are never more than two writes a second. A
job names a thousand sites, those that it selected last: who is not among them keeps what is noted of it. Called by client.py,
for each FLClient.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fedapi.crd.flclient import MAX_COUNTED, CountedJob, Participated
from fedapi.crd.job_status import MAX_COUNTED_SITES
from fedapi.jsonvalue import JsonView
from fedoperator.decide.decision import JobCount
from fedoperator.decide.facts import instant, stamp

PACE = timedelta(seconds=60)  # for each hundred sites
_HUNDRED = 100


@dataclass(frozen=True)
class JobCounts:
    """What a job says of the rounds of its sites."""

    by_site: Mapping[str, JobCount]
    others: JobCount  # whom it does not name: nothing, or not yet

    def of(self, client: str) -> JobCount:
        """What it says of that site."""
        return self.by_site.get(client, self.others)


def counts(job: JsonView) -> JobCounts:
    """What a FederatedJob, as the API has it, says of sites."""
    status, metadata = job.get("status") or {}, job["metadata"]
    told, ended = status.get("participation") or (), bool(status.get("outcome"))
    others = JobCount(metadata["uid"], metadata["name"], final=ended or len(told) < MAX_COUNTED_SITES, named=len(told))
    named = {
        each["name"]: replace(
            others,
            final=ended,
            selected=each.get("selected", 0),
            accepted=each.get("accepted", 0),
            last_round=each.get("lastRound", 0),
        )
        for each in told
    }
    return JobCounts(named, others)


def counted(old: Participated | None, jobs: Sequence[JobCount], now: datetime) -> Participated | None:
    """The counters with what is new, where it is time to write them."""
    news = _news(old, jobs)
    if not news or (old is not None and now < _next(old, news) and not any(job.final for job in news)):
        return old
    before, last = old or Participated(counted_time=stamp(now)), news[-1]
    noted = {entry.uid: entry for entry in before.jobs}
    fresh = {job.uid: CountedJob(uid=job.uid, selected=job.selected, accepted=job.accepted) for job in news}
    selected = before.selected + sum(job.selected - _noted(noted, job).selected for job in news)
    accepted = before.accepted + sum(job.accepted - _noted(noted, job).accepted for job in news)
    return Participated(
        selected=selected,
        accepted=accepted,
        failed=selected - accepted,
        last_round=last.last_round,
        job=last.name,
        counted_time=stamp(now),
        jobs=[entry for job in jobs if (entry := fresh.get(job.uid) or noted.get(job.uid))],
    )


def due(old: Participated | None, jobs: Sequence[JobCount], now: datetime) -> Iterator[datetime]:
    """When to look again: while a job goes on its status says more, and no event tells."""
    news = _news(old, jobs)
    if old is not None and news and now < _next(old, news):
        yield _next(old, news)
    elif live := [job for job in jobs if not job.final]:
        yield now + _pace(live)


def _news(old: Participated | None, jobs: Sequence[JobCount]) -> list[JobCount]:
    """Jobs that say more than is counted; of more jobs than can be noted, those that are noted first."""
    noted = {entry.uid: entry for entry in old.jobs} if old else {}
    room = MAX_COUNTED - sum(1 for job in jobs if job.uid in noted)
    newcomers = [job for job in jobs if job.uid not in noted and job.selected][: max(0, room)]
    return [job for job in jobs if job in newcomers or (job.uid in noted and _grown(noted[job.uid], job))]


def _grown(entry: CountedJob, job: JobCount) -> bool:
    return job.selected > entry.selected and job.accepted >= entry.accepted


def _noted(noted: Mapping[str, CountedJob], job: JobCount) -> CountedJob:
    return noted.get(job.uid) or CountedJob(uid=job.uid)


def _next(old: Participated, news: Sequence[JobCount]) -> datetime:
    return instant(old.counted_time) + _pace(news)


def _pace(jobs: Sequence[JobCount]) -> timedelta:
    return PACE * max(1, *(-(-job.named // _HUNDRED) for job in jobs))
