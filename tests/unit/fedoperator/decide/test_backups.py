"""When backups are made, that one follows from how far the newest lags, and that they outlive the aggregator."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

BACKUP = {"everyRounds": 5, "schedule": "0 3 * * *"}
CRON = Key("CronJob", "heart-backup")


def at_round(committed, backed_up=None, **more):
    status = s.in_round() | more
    status["round"] = status["round"] | {"committed": committed, "current": committed + 1}
    return status | ({"backup": {"round": backed_up}} if backed_up is not None else {})


def observed(committed, backed_up=None, children=None, spec=None, **more):
    job = s.job(at_round(committed, backed_up, **more), **({"backup": BACKUP} | (spec or {})))
    return s.observe(job, children=children or {})


def of_rounds(decision):
    """Names of the Jobs that make a backup because of rounds."""
    return [
        o["metadata"]["name"]
        for o in decision.objects
        if o["kind"] == "Job" and o["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_BACKUP
    ]


def job_named(round_, attempt=0):
    return names.triggered_backup_name("heart", round_, attempt)


def live(name, *, cron="", **status):
    """A backup's Job; `cron`: uid of the CronJob that made it."""
    owner = {"kind": "CronJob", "uid": cron} if cron else {"kind": "FederatedJob", "name": "heart", "uid": s.UID}
    owner |= {"apiVersion": "batch/v1" if cron else names.API_VERSION, "controller": True}
    labels = {names.LABEL_JOB: "heart", names.LABEL_JOB_UID: s.UID, names.LABEL_ROLE: names.ROLE_BACKUP}
    body = {
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner], "uid": f"uid-{name}"},
        "spec": {"suspend": False},
        "status": status,
    }
    return {Key("Job", name): body}


def cron():
    body = dict(next(o for o in decide(observed(0), s.NOW).objects if s.key(o) == CRON))
    return {CRON: body | {"metadata": body["metadata"] | {"uid": "cron"}}}


DONE = {"conditions": [{"type": "Complete", "status": "True"}]}
FAILED = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": s.ago(60)}]}


@pytest.mark.parametrize(
    ("committed", "backed_up", "due"),
    [(4, None, None), (5, None, 5), (7, None, 5), (12, 5, 10), (12, 10, None), (12, 12, None), (25, 5, 25)],
)
def test_rounds_make_a_backup_due_however_many_passed_unseen(committed, backed_up, due):
    assert of_rounds(decide(observed(committed, backed_up), s.NOW)) == ([job_named(due)] if due else [])


@pytest.mark.parametrize("by_clock", [False, True])
def test_one_backup_at_a_time(by_clock):
    running = live("heart-backup-29000000", cron="cron" if by_clock else "")
    assert of_rounds(decide(observed(10, 5, cron() | running), s.NOW)) == []
    ended = live("heart-backup-29000000", cron="cron" if by_clock else "", **DONE)
    assert of_rounds(decide(observed(10, 5, cron() | ended), s.NOW)) == [job_named(10)]


def test_a_job_that_ended_is_not_made_twice_and_goes_when_the_next_is_due():
    for status in (DONE, FAILED):
        there = live(job_named(10), **status)
        decision = decide(observed(12, 5, there), s.NOW)
        assert of_rounds(decision) == []
        assert Key("Job", job_named(10)) not in decision.delete
    later = decide(observed(15, 5, live(job_named(10), **FAILED)), s.NOW)
    assert of_rounds(later) == [job_named(15)]
    assert Key("Job", job_named(10)) in later.delete


def test_what_the_cron_job_or_a_person_made_is_theirs_to_remove():
    decision = decide(observed(10, 10, cron() | live("heart-backup-29000000", cron="cron", **DONE)), s.NOW)
    assert Key("Job", "heart-backup-29000000") not in decision.delete


def test_after_the_end_the_last_round_is_backed_up_and_the_schedule_goes_on():
    outcome = {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": s.ago(600)}
    ended = observed(12, 10, outcome=outcome)
    decision = decide(ended, s.NOW)
    assert of_rounds(decision) == [job_named(12)]
    crons = {o["metadata"]["name"]: o["spec"]["suspend"] for o in decision.objects if o["kind"] == "CronJob"}
    assert crons == {"heart-backup": False}
    made = next(dict(o) for o in decision.objects if o["metadata"]["name"] == job_named(12))
    made["spec"] = made["spec"] | {"suspend": True}
    assert decide(observed(12, 10, {s.key(made): made}, outcome=outcome), s.NOW).suspend == {job_named(12): False}


def test_a_last_backup_that_failed_is_tried_again_some_times():
    outcome = {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": s.ago(600)}
    rounds_alone = {"backup": {"everyRounds": 5}}

    def after(attempt, failed_s_ago, **more):
        status = {"conditions": [FAILED["conditions"][0] | {"lastTransitionTime": s.ago(failed_s_ago)}]}
        return decide(observed(12, 10, live(job_named(12, attempt), **status), rounds_alone, **more), s.NOW)

    early, due = after(0, 599, outcome=outcome), after(0, 600, outcome=outcome)
    assert (of_rounds(early), early.requeue_after) == ([], 1)
    assert Key("Job", job_named(12)) not in early.delete, "it tells how it went"
    assert of_rounds(due) == [job_named(12, 1)]
    assert Key("Job", job_named(12)) in due.delete
    assert of_rounds(after(1, 600, outcome=outcome)) == [], "the pauses grow"
    assert of_rounds(after(1, 1200, outcome=outcome)) == [job_named(12, 2)]
    assert of_rounds(after(4, 9600, outcome=outcome)) == [job_named(12, 5)]
    last = after(5, 86400, outcome=outcome)
    assert of_rounds(last) == []
    assert Key("Job", job_named(12, 5)) not in last.delete
    assert of_rounds(decide(observed(14, 5, live(job_named(10), **FAILED), rounds_alone), s.NOW)) == []


def test_a_job_that_deletes_itself_waits_for_its_last_backup():
    ended = s.outcome() | {"conditions": list(dict(decide(s.observe(s.job(s.outcome())), s.NOW).status)["conditions"])}

    def deleted(backed_up, children=None, **more):
        return decide(
            observed(12, backed_up, children, {"ttlSecondsAfterFinished": 0} | more, **ended), s.NOW
        ).delete_self

    assert not deleted(10), "it is due"
    assert not deleted(10, live(job_named(12))), "it is under way"
    assert not deleted(12, cron() | live("heart-backup-29000000", cron="cron")), "so is one of the schedule"
    assert deleted(12, live(job_named(12), **DONE))
    assert not deleted(10, live(job_named(12), **FAILED)), "it is tried again"
    assert deleted(10, live(job_named(12, 5), **FAILED)), "nobody makes it any more"
    assert deleted(10, live(job_named(12)), suspend=True)


@pytest.mark.parametrize("spec", [{"suspend": True}, {"backup": BACKUP | {"suspend": True}}])
def test_suspended_with_the_job_or_alone(spec):
    running = live("heart-backup-29000000", cron="cron")
    decision = decide(observed(10, 5, cron() | running, spec=spec), s.NOW)
    assert of_rounds(decision) == []
    assert [o["spec"]["suspend"] for o in decision.objects if o["kind"] == "CronJob"] == [True]
    stopped = decision.suspend.get("heart-backup-29000000")
    assert stopped is (True if "suspend" in spec else None), "a backup under way ends with the pods of a suspended job"


def test_a_job_without_backup_has_nothing_of_it_and_loses_what_it_had():
    bare = decide(s.observe(s.job(at_round(10))), s.NOW)
    assert not [o for o in bare.objects if names.ROLE_BACKUP in o["metadata"]["labels"].values()]
    assert CRON in decide(s.observe(s.job(at_round(10)), children=cron()), s.NOW).delete


def test_the_claim_of_a_destination_that_is_a_volume_is_never_deleted():
    key = Key("PersistentVolumeClaim", names.backup_claim_name("heart", s.UID))
    first = decide(observed(0), s.NOW)
    claim = dict(next(o for o in first.objects if s.key(o) == key))
    assert "ownerReferences" not in claim["metadata"], "it outlives the job"
    decision = decide(s.observe(s.job(at_round(10)), children={key: claim}), s.NOW)
    assert key not in decision.delete


def test_who_makes_backups_writes_its_own_jobs_status_and_reads_the_sites_by_name():
    roles = {o["metadata"]["name"]: o["rules"] for o in decide(observed(0), s.NOW).objects if o["kind"] == "Role"}
    assert [(rule["resources"], rule["verbs"], rule["resourceNames"]) for rule in roles["heart-fedloom-backup"]] == [
        (["federatedjobs"], ["get"], ["heart"]),
        (["federatedjobs/status"], ["get", "patch"], ["heart"]),
        (["flclients"], ["get"], ["berlin", "lyon"]),
    ]
