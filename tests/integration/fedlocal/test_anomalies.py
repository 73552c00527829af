"""A local run with a site that sends what is a thousand times too long: it is suspended, and everybody who should know is told."""

import csv
import io
import json
import subprocess

from tests.integration.fedlocal.runs import Lab, job, site

SITES = (site("east"), site("north"), site("south"), site("west", LAB_TIMES="1000"))


def told(lab, *words):
    return subprocess.run(lab.command(*words), check=True, capture_output=True, text=True).stdout


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
