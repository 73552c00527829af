"""Policy plan_step: with training.lifetime Round, whose training Job exists when, from the plan that the aggregator published."""

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key, Observed
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.desired.jobs import created
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER
THREE = (*s.TWO_SITES, s.site("oslo"))
ROUND = {"lifetime": "Round"}


def _job(status: s.Json, **spec: object):
    return s.job(status, **{"training": ROUND} | spec)


def _observe(status: s.Json, jobs: dict[Key, s.Json] | None = None, pods: tuple[s.Json, ...] = (), **more) -> Observed:
    """A job whose hub is up, with these training Jobs."""
    job, clients = more.pop("job", None) or _job(status), more.pop("clients", THREE)
    bare = s.live_children(s.observe(_job(s.STARTED), clients), ready=more.pop("ready", True))
    hub = {key: body for key, body in bare.items() if not _client(body)}
    return s.observe(job, clients, hub | (jobs or {}), pods, **more)


def _client(body: s.Json) -> str:
    return body["metadata"]["labels"].get(names.LABEL_CLIENT, "")


def _name(client: str, step: str) -> str:
    found = next(site for site in THREE if site.metadata.name == client)
    return training_job(_job({}), found, "cluster.local", step=step)["metadata"]["name"]


def _live(client: str, step: str, state: str = "running") -> dict[Key, s.Json]:
    """A training Job of a step as it is on the cluster."""
    found = next(site for site in THREE if site.metadata.name == client)
    body = created(training_job(_job({}), found, "cluster.local", step=step))
    body["metadata"]["labels"][names.LABEL_STEP] = step
    body["spec"]["suspend"] = state == "suspended"
    if state in ("failed", "complete"):
        {"failed": s.failed, "complete": s.complete}[state](body)
    return {s.key(body): body}


def _made(decision: Decision) -> set[str]:
    return {o["metadata"]["name"] for o in decision.objects if o["kind"] == "Job" and _client(o)}


def _deleted(decision: Decision) -> set[str]:
    return {key.name for key in decision.delete}


TABLE = [
    # what: the plan, the Jobs there are (client, step, state), those that shall be (client, step), those deleted
    ("nothing is planned yet", s.planned(""), [], [], []),
    ("a plan", s.planned("1-1", "berlin", "lyon"), [], [("berlin", "1-1"), ("lyon", "1-1")], []),
    (
        "it goes on",
        s.planned("1-1", "berlin", berlin="Training"),
        [("berlin", "1-1", "running")],
        [("berlin", "1-1")],
        [],
    ),
    (
        "the next round: finished Jobs go, selected sites get theirs at once",
        s.planned("2-1", "berlin", "oslo"),
        [("berlin", "1-1", "complete"), ("lyon", "1-1", "complete")],
        [("berlin", "2-1"), ("oslo", "2-1")],
        [("berlin", "1-1"), ("lyon", "1-1")],
    ),
    (
        "a straggler's order is void: its Job goes first, and is not at work on this round",
        s.planned("2-1", "berlin", berlin="Training"),
        [("berlin", "1-1", "running")],
        [],
        [("berlin", "1-1")],
    ),
    (
        "a failed attempt is tried anew",
        s.planned("1-2", "berlin", "lyon", berlin="Training"),
        [("berlin", "1-1", "complete"), ("lyon", "1-1", "suspended")],
        [("berlin", "1-2")],
        [("berlin", "1-1"), ("lyon", "1-1")],
    ),
    (
        "the last evaluation",
        s.planned("20-evaluate", "berlin", "lyon"),
        [("berlin", "20-1", "complete"), ("lyon", "20-1", "complete"), ("oslo", "20-1", "complete")],
        [("berlin", "20-evaluate"), ("lyon", "20-evaluate")],
        [("berlin", "20-1"), ("lyon", "20-1"), ("oslo", "20-1")],
    ),
    ("between two plans nobody holds a pool", s.planned(""), [("berlin", "1-1", "running")], [], [("berlin", "1-1")]),
    (
        "a Job that failed for good stays as its record and gets no successor",
        s.planned("2-1", "berlin", "lyon"),
        [("berlin", "1-1", "failed")],
        [("berlin", "1-1"), ("lyon", "2-1")],
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "jobs", "wanted", "deleted"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_jobs_follow_the_plan(status, jobs, wanted, deleted):
    live = {key: body for job in jobs for key, body in _live(*job).items()}
    decision = decide(_observe(status, live), s.NOW)
    assert _made(decision) == {_name(*job) for job in wanted}
    assert _deleted(decision) == {_name(*job) for job in deleted}
    again = decide(_observe(status, live), s.NOW)  # a restarted operator decides the same: no duplicates
    assert again == decision


def test_a_job_is_let_go_at_once_when_the_aggregator_is_ready_and_says_its_step():
    status = s.planned("1-1", "berlin")
    made = next(o for o in decide(_observe(status), s.NOW).objects if _client(o) and o["kind"] == "Job")
    assert made["metadata"]["labels"][names.LABEL_STEP] == "1-1"
    live = {s.key(made): created(made)}
    assert decide(_observe(status, live), s.NOW).suspend == {made["metadata"]["name"]: False}
    assert decide(_observe(status, live, ready=False), s.NOW).suspend == {}


def test_the_name_changes_with_the_step_alone():
    assert len({_name("berlin", step) for step in ("", "1-1", "1-2", "2-1", "1-evaluate")}) == 5


def test_sites_without_a_part_say_so_calmly():
    live = _live("berlin", "3-1") | _live("lyon", "3-1", "complete")
    pod = s.running(TRAINER, _name("berlin", "3-1"), "berlin")
    decision = decide(_observe(s.planned("3-1", "berlin", "lyon"), live, (pod,)), s.NOW)
    assert s.site_reasons(decision) == {"berlin": "", "lyon": Reason.ROUND_DONE, "oslo": Reason.NOT_SELECTED}
    assert "SiteTrouble" not in {e.reason for e in decision.events}
    early = decide(_observe(s.STARTED), s.NOW)
    assert set(s.site_reasons(early).values()) == {Reason.AWAITING_AGGREGATOR}


BARRED = {
    "paused": s.site("berlin", paused=True),
    "not Ready": s.site("berlin", status={"conditions": [s.not_ready()]}),
}


@pytest.mark.parametrize("step", ["1-1", "20-evaluate"])
@pytest.mark.parametrize("state", ["Training", "Waiting", "Accepted", "Idle"])
@pytest.mark.parametrize("barred", BARRED.values(), ids=BARRED)
def test_a_barred_site_starts_nothing_whatever_the_status_says(barred, state, step):
    clients, status = (barred, *THREE[1:]), s.planned(step, "berlin", "lyon", berlin=state)
    decision = decide(_observe(status, clients=clients), s.NOW)
    assert _made(decision) == {_name("lyon", step)}
    assert s.roster(decision)["berlin"] == (False, Reason.NOT_STARTED)
    waiting = decide(_observe(status, _live("berlin", step, "suspended"), clients=clients), s.NOW)
    assert (waiting.suspend, _deleted(waiting)) == ({}, set())
    assert s.site_reasons(waiting)["berlin"] in (Reason.PAUSED, Reason.NOT_READY)


def test_a_site_that_does_not_match_the_selector_starts_nothing_whatever_the_status_says():
    status = s.planned("1-1", "berlin", "madrid", berlin="Training", madrid="Training")
    job = _job(status, clients={"selector": {"matchLabels": {"in": "1"}}})
    decision = decide(_observe(status, job=job), s.NOW)
    assert _made(decision) == set()


def test_a_paused_site_ends_the_round_that_it_had_started():
    paused = (BARRED["paused"], *THREE[1:])
    decision = decide(_observe(s.planned("1-1", "berlin"), _live("berlin", "1-1"), clients=paused), s.NOW)
    assert (decision.suspend, _deleted(decision)) == ({}, set())
    assert s.roster(decision)["berlin"] == (False, Reason.PAUSED)


def test_suspend_and_resume_in_mid_round_keep_the_step():
    status, live = s.planned("3-1", "berlin", berlin="Training"), _live("berlin", "3-1")
    stopped = decide(_observe(status, live, job=_job(status, suspend=True)), s.NOW)
    assert stopped.suspend[_name("berlin", "3-1")] is True
    assert (_made(stopped), _deleted(stopped)) == ({_name("berlin", "3-1")}, set())
    assert s.site_reasons(stopped)["oslo"] == Reason.SUSPEND_REQUESTED
    resumed = decide(_observe(status, _live("berlin", "3-1", "suspended")), s.NOW)
    assert resumed.suspend == {_name("berlin", "3-1"): False}


def test_a_site_that_failed_for_good_is_out_until_its_template_changes():
    live, status = _live("berlin", "1-1", "failed"), s.planned("2-1", "lyon")
    dead = s.ended(TRAINER, _name("berlin", "1-1"), "berlin", Exit.DATA_MISSING, "no file train.csv")
    decision = decide(_observe(status, live, (dead,)), s.NOW)
    assert s.roster(decision) == {"berlin": (False, "DataMissing"), "lyon": (True, ""), "oslo": (True, "")}
    assert s.site_messages(decision)["berlin"].startswith("no file train.csv (mend it, then delete Job ")
    changed = (s.site("berlin", data={"env": [{"name": "FILE", "value": "rows.csv"}]}), *THREE[1:])
    mended = decide(_observe(status, live, (dead,), clients=changed), s.NOW)
    assert s.roster(mended)["berlin"] == (True, "")
    assert _deleted(mended) == {_name("berlin", "1-1")}


def test_a_site_rests_for_the_step_in_which_it_failed_too_often():
    def pods(step: str):
        name = _name("berlin", step)
        return tuple(s.ended(TRAINER, name, "berlin", Exit.TASK_FAILED, "boom", at=9, name=f"p{i}") for i in range(6))

    resting = decide(_observe(s.planned("3-1", "berlin"), _live("berlin", "3-1"), pods("3-1")), s.NOW)
    assert resting.suspend == {_name("berlin", "3-1"): True}
    assert s.roster(resting)["berlin"] == (False, Reason.TOO_MANY_FAILURES)
    over = decide(_observe(s.planned("4-1", "lyon"), _live("berlin", "3-1", "suspended"), pods("3-1")), s.NOW)
    assert _deleted(over) == {_name("berlin", "3-1")}
    assert s.roster(over)["berlin"] == (True, "")


def test_a_template_change_in_mid_round_waits_for_its_end():
    status, live = s.planned("3-1", "berlin", berlin="Training"), _live("berlin", "3-1")
    changed = (s.site("berlin", data={"env": [{"name": "FILE", "value": "x"}]}), *THREE[1:])
    decision = decide(_observe(status, live, clients=changed), s.NOW)
    assert (_made(decision), _deleted(decision)) == (set(), set())
    assert s.site_reasons(decision)["berlin"] == Reason.REPLACED_NEXT_ROUND


@pytest.mark.parametrize(("state", "busy"), [("Training", True), ("Idle", False)])
def test_a_change_of_lifetime_acts_at_the_next_round(state, busy):
    old = s.live_children(s.observe(s.job(s.in_round(berlin=state)), s.TWO_SITES[:1]))
    status = s.planned("3-1", "berlin", berlin=state)
    decision = decide(s.observe(_job(status), s.TWO_SITES[:1], old), s.NOW)
    name = s.job_name(s.observe(clients=s.TWO_SITES[:1]), "berlin")
    assert _deleted(decision) == (set() if busy else {name})
    live = _live("berlin", "3-1")
    back = decide(_observe(status, live, job=s.job(status)), s.NOW)
    assert _deleted(back) == (set() if busy else {_name("berlin", "3-1")})


def test_the_aggregator_stops_at_once_when_no_training_job_runs():
    told = {"result": "Succeeded", "reason": "RoundsDone", "message": "", "time": s.ago(1)}
    status = s.planned("") | {"outcome": told}
    over = decide(_observe(status, _live("berlin", "20-evaluate", "complete")), s.NOW)
    assert [o["spec"]["replicas"] for o in over.objects] == [0]
    going = decide(_observe(status, _live("berlin", "20-evaluate")), s.NOW)
    assert going.objects == ()


def test_pending_sites_hold_a_round_up_while_nobody_trains():
    status, live = s.planned("1-1", "berlin", "lyon"), _live("berlin", "1-1") | _live("lyon", "1-1")
    stuck = s.unplaced(TRAINER, _name("berlin", "1-1"), "berlin", "3 Insufficient nvidia.com/gpu.", created_s_ago=900)
    decision = decide(_observe(status, live, (stuck,)), s.NOW)
    assert s.condition(decision, "Progressing")[:2] == ("False", Reason.UNSCHEDULABLE)
    other = s.running(TRAINER, _name("lyon", "1-1"), "lyon", name="other")
    assert s.condition(decide(_observe(status, live, (stuck, other)), s.NOW), "Progressing")[0] == "True"
