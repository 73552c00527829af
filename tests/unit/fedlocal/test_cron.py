"""The CronJob controller of the embedded runner, as a cluster's would decide."""

from datetime import datetime, timedelta

import pytest

from fedlocal import cron
from fedlocal.cluster import timestamp
from tests.unit.fedoperator import samples as s

NOW = datetime.fromisoformat("2026-11-22T12:07:30+00:00")


def cron_job(schedule="*/5 * * * *", made="2026-11-22T12:02:00Z", last=None, *, suspend=False):
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "heart-backup", "uid": "cron", "creationTimestamp": made},
        "spec": {
            "schedule": schedule, "suspend": suspend, "startingDeadlineSeconds": 3600, "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"role": "backup"}}, "spec": {"template": {}}},
        },
        "status": {"lastScheduleTime": last} if last else {},
    }  # fmt: skip


def job(name, condition=None, minutes_ago=1):
    at = timestamp(NOW - timedelta(minutes=minutes_ago))
    status = {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": at}]} if condition else {}
    return {"kind": "Job", "metadata": {"name": name}, "spec": {}, "status": status | {"completionTime": at}}


def test_what_is_due_is_made_under_a_name_of_its_minute():
    step = cron.step(cron_job(), [], NOW)
    assert step.status == {"lastScheduleTime": "2026-11-22T12:05:00Z"}
    assert step.create["metadata"]["name"] == f"heart-backup-{int(NOW.timestamp()) // 60 - 2}"
    assert step.create["metadata"]["labels"] == {"role": "backup"}
    (owner,) = step.create["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("CronJob", "cron", True)


def test_then_nothing_until_the_next_time():
    step = cron.step(cron_job(last="2026-11-22T12:05:00Z"), [], NOW)
    assert (step.create, step.again_after) == (None, 150.0)


def test_of_what_was_missed_the_newest_is_made():
    step = cron.step(cron_job(last="2026-11-22T11:00:00Z"), [], NOW)
    assert step.status["lastScheduleTime"] == "2026-11-22T12:05:00Z"


def test_what_is_too_late_is_left_to_the_next():
    step = cron.step(cron_job("0 3 * * *", last="2026-11-21T03:00:00Z"), [], NOW)
    assert step.create is None


@pytest.mark.parametrize("name", ["running", "by-hand"])
def test_one_at_a_time(name):
    assert cron.step(cron_job(), [job(name)], NOW).create is None
    assert cron.step(cron_job(), [job(name, "Complete")], NOW).create is not None


def test_suspended_makes_nothing():
    step = cron.step(cron_job(suspend=True), [job("a", "Complete", 3), job("b", "Complete", 1)], NOW)
    assert (step.create, step.again_after, step.remove) == (None, None, ("a",))


def test_history_is_kept_as_short_as_it_says():
    jobs = [job("a", "Complete", 9), job("b", "Failed", 8), job("c", "Complete", 5), job("d", "Failed", 3), job("e")]
    assert cron.step(cron_job(), jobs, NOW).remove == ("a", "b")


def test_the_operators_cron_jobs_are_ones():
    """Every field that is read here is one that the operator writes."""
    from fedoperator.decide.job import decide

    job_ = s.job(s.in_round(), backup={"schedule": "0 * * * *", "verify": {"schedule": "0 * * * *"}})
    for body in decide(s.observe(job_), s.NOW).objects:
        if body["kind"] == "CronJob":
            made = dict(body) | {"metadata": body["metadata"] | {"uid": "u", "creationTimestamp": s.ago(7200)}}
            step = cron.step(made, [], s.NOW)
            assert step.create["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "fedbackup"
