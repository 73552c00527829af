"""Policy anomalies: what the aggregator judged is a condition, an event for each round, and the history of each site."""

from fedapi.crd.anomalies import MAX_OF_SITE, SiteAnomaly
from fedoperator.decide import anomalies
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import ObservedClient
from fedoperator.decide.job import decide
from fedoperator.desired.config import job_config
from tests.unit.fedoperator import samples as s

TIME = "2026-01-01T00:00:00Z"


def entry(client="b", round_=3, action="Exclude", attempt=1):
    return {
        "client": client, "round": round_, "attempt": attempt, "action": action, "time": TIME,
        "reasons": ["NormAboveOthers"], "message": "NormAboveOthers: its norm is 90 times the median of the others' (limit 10)",
    }  # fmt: skip


def told(before, committed, *recent, suspended=(), asked=True, **more):
    """The decision over what the status said before, with these anomalies in it."""
    known = {"total": len(recent), "recent": list(recent), "suspended": [{"name": n, "round": r} for n, r in suspended]}
    status = s.in_round() | dict(before or {}) | {"anomalies": known | more}
    status["round"] = status["round"] | {"committed": committed}
    job = s.job(status, **({"anomalies": {"action": "Suspend"}} if asked else {}))
    return decide(s.observe(job, children=s.live_children(s.observe())), s.NOW)


def test_nothing_is_said_where_nothing_is_judged():
    quiet = told(None, 3, entry(), asked=False)
    assert "UpdatesSound" not in {condition["type"] for condition in quiet.status["conditions"]}


def test_each_round_is_a_condition_and_one_event():
    sound = told(None, 2)
    assert s.condition(sound, "UpdatesSound")[:2] == ("True", "NoAnomalies")
    first = told(sound.status, 3, entry())
    words = f"the last of 1 anomalous updates: site b, round 3 (Exclude): {entry()['message']}"
    assert s.condition(first, "UpdatesSound") == ("False", "AnomalousUpdates", words)
    assert [(e.type, e.reason, e.message) for e in first.events if e.reason == "AnomalousUpdates"] == [
        ("Warning", "AnomalousUpdates", words)
    ]
    assert told(first.status, 3, entry()).events == ()
    second = told(first.status, 4, entry(round_=4), entry())
    assert [e.reason for e in second.events] == ["AnomalousUpdates"]
    after = told(second.status, 5, entry(round_=4), entry())
    assert s.condition(after, "UpdatesSound")[:2] == ("True", "NoAnomalies")
    assert after.events == ()


def test_a_round_that_is_over_before_anybody_looks_is_told_all_the_same():
    late = told(told(None, 2).status, 7, entry())
    assert s.condition(late, "UpdatesSound")[:2] == ("True", "NoAnomalies")
    assert [e.reason for e in late.events] == ["AnomalousUpdates"]


def test_suspended_sites_are_named_with_the_way_out():
    found = told(None, 5, entry(action="Suspend"), suspended=[("b", 3)])
    status, reason, message = s.condition(found, "UpdatesSound")
    assert (status, reason) == ("False", "SitesSuspended")
    assert "suspended are b (round 3)" in message
    assert "spec.anomalies.readmit" in message


def undoing(result="Done", committed=4, message="round 4 has the model of round 0, rounds 1, 2, 3 are undone"):
    return {
        "result": result, "cause": "AnomalousUpdate", "client": "b", "round": 3, "to": 0, "undone": 3,
        "committed": committed, "message": message, "time": TIME,
    }  # fmt: skip


def test_what_was_undone_is_an_event_of_its_own_and_in_the_condition():
    first = told(told(None, 2).status, 3, entry(action="RollBack"))
    second = told(first.status, 4, entry(action="RollBack"), rollbacks=[undoing()], suspended=[("b", 3)])
    assert [(e.type, e.reason, e.message) for e in second.events] == [("Warning", "RoundsUndone", undoing()["message"])]
    status, reason, message = s.condition(second, "UpdatesSound")
    assert (status, reason) == ("False", "SitesSuspended")
    assert undoing()["message"] in message
    assert told(second.status, 5, entry(action="RollBack"), rollbacks=[undoing()], suspended=[("b", 3)]).events == ()


def test_what_could_not_be_undone_is_told_with_the_reason():
    refused = undoing("Refused", message="the metric of the model of round 3 has collapsed, and nothing is undone: …")
    found = told(told(None, 3).status, 4, rollbacks=[refused])
    assert s.condition(found, "UpdatesSound") == ("False", "RoundsNotUndone", refused["message"])
    assert [e.reason for e in found.events] == ["RoundsNotUndone"]
    assert s.condition(told(found.status, 5, rollbacks=[refused]), "UpdatesSound")[:2] == ("True", "NoAnomalies")


def test_messages_stay_within_what_the_api_takes_however_many_sites_there_are():
    many = [entry(f"site-{n:04}" + "x" * 200, action="RollBack") for n in range(20)]
    sites = [(f"site-{n:04}" + "x" * 200, 3) for n in range(100)]
    found = told(None, 4, *many, suspended=sites, suspendedTotal=1000, rollbacks=[undoing(message="m" * 1024)] * 20)
    message = s.condition(found, "UpdatesSound")[2]
    assert len(message) <= 1024
    assert "m" * 350 in message
    short = told(None, 5, entry(round_=3), suspended=[(f"s{n}", 3) for n in range(100)], suspendedTotal=1000)
    assert "s9 (round 3) and 990 more" in s.condition(short, "UpdatesSound")[2]
    assert all(len(event.message) <= 1024 for event in found.events)


def test_what_could_not_be_judged_is_said():
    found = told(None, 3, message="round 3 had 2 updates")
    assert s.condition(found, "UpdatesSound") == ("True", "NoAnomalies", "round 3 had 2 updates")


def test_a_suspended_site_cannot_take_part():
    names = [site.metadata.name for site in s.observe().clients]
    found = told(None, 3, suspended=[(name, 2) for name in names])
    assert s.condition(found, "Progressing")[:2] == ("False", "TooFewSites")
    unnamed = told(None, 3, suspended=[(names[0], 2)], suspendedTotal=len(names))
    assert s.condition(unnamed, "Progressing")[:2] == ("False", "TooFewSites")


def test_the_aggregator_is_told_numbers():
    assert job_config(s.job(), ()).anomalies is None
    spec = {"action": "Exclude", "minCosine": "-0.5", "readmit": [{"client": "b", "throughRound": 3}]}
    made = job_config(s.job(anomalies=spec), ()).anomalies
    back = {"action": "RollBack", "rollBack": {"metricCollapse": {"metric": "auc", "tolerance": "0.1"}}}
    told_back = job_config(s.job(anomalies=back), ()).anomalies.rollback
    assert (told_back.lookback_rounds, told_back.max_rollbacks) == (5, 3)
    assert (told_back.collapse.metric, told_back.collapse.tolerance, told_back.collapse.suspect_factor) == (
        "auc",
        0.1,
        3,
    )
    assert job_config(s.job(anomalies={"action": "RollBack"}), ()).anomalies.rollback.lookback_rounds == 5
    assert made.rollback is None
    assert (made.action, made.norm_factor, made.min_cosine, made.readmitted("b"), made.readmitted("a")) == (
        "Exclude", 10.0, -0.5, 3, -1
    )  # fmt: skip


def body(*recent, uid="u"):
    return {"metadata": {"name": "heart", "uid": uid}, "status": {"anomalies": {"recent": list(recent)}}}


def test_a_site_has_its_own_of_all_jobs_each_once():
    job = body(entry("a"), entry("b", 4), entry("b", 3))
    assert anomalies.sites(job) == ("a", "b")
    mine = tuple(anomalies.told(job, "b"))
    assert [(each.job, each.uid, each.round) for each in mine] == [("heart", "u", 4), ("heart", "u", 3)]
    known = anomalies.of_site(None, mine)
    assert anomalies.of_site(known, mine) == known
    other = tuple(anomalies.told(body(entry("b", 3), uid="v"), "b"))
    assert len(anomalies.of_site(known, other)) == 3, "of another job"
    assert anomalies.of_site(known, ()) == known, "a job that is gone"
    assert anomalies.of_site(None, ()) is None


def test_the_history_of_a_site_is_bounded_and_newest_first():
    many = [SiteAnomaly(job="j", uid="u", round=n, action="Warn", time=TIME) for n in range(1, 30)]
    found = anomalies.of_site(many[:15], many[15:])
    assert [each.round for each in found] == list(range(29, 29 - MAX_OF_SITE, -1))


def test_it_is_in_the_status_of_the_site():
    client = s.observe().clients[0]
    mine = tuple(anomalies.told(body(entry(client.metadata.name)), client.metadata.name))
    decided = decide_client(ObservedClient(client, None, anomalies=mine), s.NOW)
    assert [each["round"] for each in decided.status["anomalies"]] == [3]
