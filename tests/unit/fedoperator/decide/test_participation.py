"""Policy participation: one writer counts a site's rounds over all jobs, each once, at most once a minute."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fedapi.crd.flclient import MAX_COUNTED, Participated
from fedapi.crd.job_status import MAX_COUNTED_SITES
from fedoperator.cluster.cache import Cache
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import JobCount, ObservedClient
from fedoperator.decide.participation import PACE, counted, counts, due
from fedoperator.handlers.routing import keys_of
from tests.unit.fedoperator import samples as s

HEART = JobCount("uid-heart", "heart", final=False, selected=5, accepted=4, last_round=5)
LUNG = JobCount("uid-lung", "lung", final=False, selected=2, accepted=2, last_round=2)
LATER = s.NOW + PACE


def told(found: Participated | None) -> tuple[int, int, int, int, str]:
    assert found is not None
    return found.selected, found.accepted, found.failed, found.last_round, found.job


def grown(job: JobCount, rounds: int = 1) -> JobCount:
    return replace(
        job, selected=job.selected + rounds, accepted=job.accepted + rounds, last_round=job.last_round + rounds
    )


def test_rounds_of_all_jobs_are_counted_once():
    first = counted(None, (HEART,), s.NOW)
    assert told(first) == (5, 4, 1, 5, "heart")
    assert counted(first, (HEART,), LATER) is first, "nothing new, nothing written"
    both = counted(first, (HEART, LUNG), LATER)
    assert told(both) == (7, 6, 1, 2, "lung")
    more = counted(both, (grown(HEART), LUNG), LATER + PACE)
    assert told(more) == (8, 7, 1, 6, "heart")


def test_a_deleted_job_stays_counted_and_its_successor_of_the_same_name_counts_anew():
    first = counted(None, (HEART,), s.NOW)
    assert counted(first, (), LATER) is first
    again = replace(HEART, uid="uid-2", selected=1, accepted=1, last_round=1)
    now = counted(first, (again,), LATER)
    assert told(now) == (6, 5, 1, 1, "heart")
    assert [entry.uid for entry in now.jobs] == ["uid-2"], (
        "what of the deleted one is counted need not be known any more"
    )


def test_a_job_that_goes_back_is_not_counted_down_nor_twice():
    """Its store was repaired: rounds 4 and 5 are gone, and made anew."""
    first = counted(None, (HEART,), s.NOW)
    back = replace(HEART, selected=3, accepted=3, last_round=3)
    assert counted(first, (back,), LATER) is first
    assert told(counted(first, (replace(HEART, selected=6, accepted=5, last_round=6),), LATER)) == (6, 5, 1, 6, "heart")


def test_rounds_are_written_once_a_minute_and_when_a_job_ends():
    first = counted(None, (HEART,), s.NOW)
    soon = s.NOW + timedelta(seconds=10)
    assert counted(first, (grown(HEART),), soon) is first
    assert [*due(first, (grown(HEART),), soon)] == [LATER]
    assert told(counted(first, (replace(grown(HEART), final=True),), soon))[:2] == (6, 5)
    assert [*due(first, (HEART,), soon)] == [soon + PACE], "no event tells of rounds: it looks"
    assert [*due(first, (replace(HEART, final=True),), soon)] == []
    assert [*due(None, (), soon)] == []


def test_more_jobs_than_can_be_noted_wait_for_a_place():
    many = tuple(replace(LUNG, uid=f"uid-{n:03}", name=f"lung-{n:03}") for n in range(MAX_COUNTED + 5))
    first = counted(None, many, s.NOW)
    assert (len(first.jobs), first.accepted) == (MAX_COUNTED, 2 * MAX_COUNTED)
    assert counted(first, many, LATER) is first
    assert counted(first, many[3:], LATER).accepted == 2 * MAX_COUNTED + 6


def job(*sites, **status):
    return {"kind": "FederatedJob", "metadata": {"name": "heart", "namespace": "ns", "uid": "u"}, "status": {"participation": list(sites)} | status}  # fmt: skip


def told_of(name, selected=3, accepted=2, last_round=7):
    return {"name": name, "selected": selected, "accepted": accepted, "lastRound": last_round}


def test_what_a_job_says_of_a_site_and_of_one_that_it_does_not_name():
    said = counts(job(told_of("a")))
    assert said.of("a") == JobCount("u", "heart", final=False, selected=3, accepted=2, last_round=7)
    assert said.of("b") == JobCount("u", "heart", final=True), "it is not of the job: no reason to look again"
    assert counts({"metadata": {"name": "x", "uid": "u"}}).of("a") == JobCount("u", "x", final=True, named=0)


def test_a_job_of_more_sites_than_it_names_counts_each_once():
    """The list of a job of 1,200 sites has those of its last rounds: who is not there was there, or will be."""
    crowd = [told_of(f"s{n:04}", 1, 1, 9) for n in range(MAX_COUNTED_SITES - 1)]
    away, there = counts(job(*crowd, told_of("z"))).of("a"), counts(job(*crowd, told_of("a", 4, 4, 8))).of("a")
    first = counted(None, (there,), s.NOW)
    assert told(first) == (4, 4, 0, 8, "heart")
    assert counted(first, (away,), s.NOW + 10 * PACE) is first
    soon = s.NOW + 9 * PACE
    assert [*due(first, (away,), soon)] == [soon + 10 * PACE], "it may be there by then"
    again = replace(there, selected=5, accepted=5, last_round=30)
    assert [*due(first, (again,), soon)] == [s.NOW + 10 * PACE], "a thousand sites are written in ten minutes"
    assert counted(first, (again,), soon) is first
    assert told(counted(first, (again,), s.NOW + 10 * PACE)) == (5, 5, 0, 30, "heart")


def test_what_is_noted_of_a_job_stays_while_another_is_counted():
    first = counted(None, (replace(HEART, uid="u"),), s.NOW)
    both = counted(first, (counts(job()).others, LUNG), LATER)
    assert told(both)[:2] == (7, 6)
    assert told(counted(both, (replace(grown(HEART), uid="u"), LUNG), LATER + PACE))[:2] == (8, 7)


def test_the_end_of_a_job_concerns_its_sites():
    body = job(told_of("a"))
    assert [key.kind for key in keys_of(body, Cache())] == ["FederatedJob"]
    body["status"]["outcome"] = {"result": "Succeeded"}
    assert [(key.kind, key.name) for key in keys_of(body, Cache())] == [("FederatedJob", "heart"), ("FLClient", "a")]


@pytest.mark.parametrize(("selected", "news"), [(5, False), (6, True)])
def test_the_status_of_a_site_has_it(selected, news):
    first = decide_client(ObservedClient(s.site("berlin"), None, jobs=(HEART,)), s.NOW)
    assert first.status["participation"]["accepted"] == 4
    assert first.requeue_after == PACE.total_seconds()
    same = s.site("berlin", status=dict(first.status))
    again = decide_client(ObservedClient(same, None, jobs=(replace(HEART, selected=selected),)), LATER)
    assert (again.status is not None) is news


def test_counters_alone_are_no_news_to_jobs():
    cache = Cache()
    site = {
        "kind": "FLClient",
        "metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "1"},
        "spec": {},
    }
    assert cache.put(site | {"status": {"active": True}})
    newer = site | {"metadata": site["metadata"] | {"resourceVersion": "2"}}
    assert not cache.put(newer | {"status": {"active": True, "participation": {"selected": 1}}})
    newest = site | {"metadata": site["metadata"] | {"resourceVersion": "3"}}
    assert cache.put(newest | {"status": {"active": False, "participation": {"selected": 2}}})
