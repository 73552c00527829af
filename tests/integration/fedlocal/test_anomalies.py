"""Local runs with a site that is or becomes broken: it is suspended, what it did is undone, and everybody who should know is told."""

import csv
import io
import json

from tests.integration.fedlocal.runs import Lab, job, site

SITES = (site("east"), site("north"), site("south"), site("west", LAB_TIMES="1000"))


def told(lab, *words):
    return lab.fedloom(*words).stdout


def test_a_broken_site_is_suspended_and_told_of(tmp_path):
    spec = {
        "rounds": 3,
        "anomalies": {"action": "Suspend"},
        "round": {"quorum": "60%"},
        "compression": {"codec": "Int8"},
    }
    lab = Lab.of(tmp_path, job(**spec), *SITES)
    code, output = lab.run()
    assert code == 0, output
    assert "AnomalousUpdates" in output
    assert "the last of 1 anomalous updates: site west, round 1 (Suspend): NormAboveOthers" in output
    rows = json.loads(told(lab, "history", "lab", "--output", "json"))
    assert [row["participants"] for row in rows[1:]] == [["east", "north", "south"]] * 3
    assert [sorted(row["anomalies"]) for row in rows[1:]] == [["west"], [], []]
    assert sorted(rows[1]["norms"]) == ["east", "north", "south"]
    _, first, *_ = csv.DictReader(io.StringIO(told(lab, "history", "lab", "--output", "csv")))
    assert first["anomalies"] == "1"
    assert float(first["norm[east]"]) > 0


def rounds_of(lab):
    return json.loads(told(lab, "history", "lab", "--output", "json"))


def entries_of(lab, kind):
    lines = told(lab, "ledger", "export", "lab").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def test_rounds_with_a_site_that_becomes_broken_are_undone_and_made_again_without_it(tmp_path):
    west = site("west", LAB_TIMES="1000", LAB_TIMES_FROM="3")
    spec = {"rounds": 4, "anomalies": {"action": "RollBack"}, "round": {"quorum": "60%"}}
    lab = Lab.of(tmp_path, job(**spec), *SITES[:3], west)
    code, output = lab.run()
    assert code == 0, output
    words = "an update of west for round 3 is anomalous: round 4 has the model of round 0, rounds 1, 2, 3 are undone, and west is suspended"
    assert "RoundsUndone" in output
    assert words in output
    assert "lab is complete: 8/8 rounds" in output
    rows = rounds_of(lab)
    assert ["west" in row["participants"] for row in rows[1:]] == [True, True] + [False] * 6
    assert [row["rolled_back_to"] for row in rows] == [None] * 4 + [0] + [None] * 4
    (undone,) = entries_of(lab, "undone")
    assert (undone["cause"], undone["client"], undone["rounds"]) == ("AnomalousUpdate", "west", ["1", "2", "3"])
    assert (undone["to"], undone["anomaly"], undone["round"]) == (0, 3, 4)


def test_a_collapsed_metric_is_undone_without_whose_update_stood_out(tmp_path):
    far = dict.fromkeys(("normFactor", "ownFactor", "layerFactor"), "1000000")
    collapse = {"metric": "loss", "goal": "Minimize", "tolerance": "1"}
    anomalies = {"action": "RollBack", "rollBack": {"metricCollapse": collapse}, **far}
    west = site("west", LAB_TIMES="6", LAB_TIMES_FROM="3")
    lab = Lab.of(tmp_path, job(rounds=4, anomalies=anomalies, round={"quorum": "60%"}), *SITES[:3], west)
    code, output = lab.run()
    assert code == 0, output
    assert "the metric of the model of round 3 has collapsed: round 5 has the model of round 2" in output
    assert "lab is complete: 7/7 rounds" in output
    rows = rounds_of(lab)
    assert [row["rolled_back_to"] for row in rows] == [None] * 5 + [2] + [None] * 2
    assert ["west" in row["participants"] for row in rows[1:]] == [True] * 4 + [False] * 3
    losses = {row["round"]: row["evaluation"]["metrics"]["loss"] for row in rows if row["evaluation"]}
    assert losses[3] > losses[2] + 1
    assert losses[7] < losses[2]
    (undone,) = entries_of(lab, "undone")
    assert (undone["cause"], undone["client"], undone["rounds"]) == ("MetricCollapsed", "west", ["3", "4"])
    assert [entry for entry in entries_of(lab, "refused") if entry.get("code") == "Anomalous"] == []
