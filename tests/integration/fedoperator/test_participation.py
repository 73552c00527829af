"""The operator counts a site's rounds over jobs on a real API server: it alone writes them, each once, a deleted job's and those of a job of 150 sites, too."""

import pytest

from tests.integration.fedoperator.kit import complete, consortium, job, operator, until

pytestmark = pytest.mark.apiserver

ENDED = {"result": "Succeeded", "reason": "RoundsCompleted", "message": "", "time": "2026-11-22T12:00:00Z"}


def told(name, selected, rounds):
    return {"name": name, "selected": selected, "accepted": rounds, "lastRound": rounds}


def test_rounds_of_ended_and_deleted_jobs_are_counted_once(api, namespace, tmp_path):
    def counters(site):
        found = api.get("FLClient", namespace, site)["status"].get("participation") or {}
        return tuple(found.get(name) for name in ("selected", "accepted", "failed", "lastRound", "job"))

    with operator(api, tmp_path) as process:
        process.wait_ready()
        heart = consortium(api, namespace, "site-a", "site-b")
        complete(api, namespace, 2)
        until(lambda: counters("site-a") == (None,) * 5)
        api.outcome(heart, participation=[told("site-a", 5, 4), told("site-b", 5, 5)], outcome=ENDED)
        until(lambda: counters("site-a") == (5, 4, 1, 4, "heart"))
        until(lambda: counters("site-b") == (5, 5, 0, 5, "heart"))
        api.delete("FederatedJob", namespace, "heart")
        until(lambda: not api.get("FederatedJob", namespace, "heart", missing_ok=True))
        lung = api.create(job(namespace, "lung"))
        others = [told(f"site-{n:03}", 2, 2) for n in range(149)]
        api.outcome(lung, participation=[*others, told("site-a", 2, 2)], outcome=ENDED)
        until(lambda: counters("site-a") == (7, 6, 1, 2, "lung"))
        assert counters("site-b") == (5, 5, 0, 5, "heart")
