"""The result's form, and the lines that a run prints."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from fedcli.display import Tables
from fedcli.errors import CommandError
from fedcli.result import result, write
from fedcli.transitions import transitions

STATUS = {
    "phase": "Complete",
    "conditions": [{"type": "Complete", "status": "True"}, {"type": "Failed", "status": "False"}],
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:00:07Z",
    "round": {"current": 3, "total": 3, "committed": 3},
    "metrics": [{"name": "accuracy", "value": "0.75", "round": 3}],
    "clients": [{"name": "b", "state": "Idle", "samples": 2, "rounds": 3}, {"name": "a", "state": "Failed", "message": "gone"}],
    "model": {"uri": "volume://c/k", "sha256": "ab", "round": 3},
}  # fmt: skip


def drawn(job, workers=None):
    """The words of each line of the table."""
    console = Console(file=io.StringIO(), width=100)
    table = Tables(console, workers or {})
    table.show(job, ())
    console.print(table.drawn(job))
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_result_has_the_agreed_form():
    assert result({"metadata": {"name": "j"}, "status": STATUS}) == {
        "job": "j",
        "phase": "Complete",
        "rounds": 3,
        "metrics": {"accuracy": 0.75},
        "privacy": {},
        "clients": [{"name": "a", "samples": 0, "rounds": 0}, {"name": "b", "samples": 2, "rounds": 3}],
        "model": {"uri": "volume://c/k", "sha256": "ab"},
        "seconds": 7.0,
    }
    empty = result({"metadata": {"name": "j"}}, seconds=1.23456)
    assert (empty["phase"], empty["rounds"], empty["model"]["uri"], empty["seconds"]) == ("Pending", 0, None, 1.235)


def test_what_is_told_of_sites_and_records_is_in_the_result_and_in_the_table():
    privacy = {"unit": "Site", "epsilon": "1.5", "delta": "1e-5"}
    clients = [{"name": "a", "state": "Idle"}, {"name": "b", "state": "BudgetSpent", "recordEpsilon": "2.9"}]
    told = STATUS | {
        "clients": clients,
        "privacy": privacy,
        "recordPrivacy": privacy | {"unit": "Record", "epsilon": "2.9"},
    }
    job = {"metadata": {"name": "j"}, "status": told}
    assert result(job)["privacy"] == {
        "site": {"epsilon": 1.5, "delta": 1e-5},
        "record": {"epsilon": 2.9, "delta": 1e-5},
    }
    lines = drawn(job)
    assert ["privacy:", "epsilon", "2.9", "(of", "one", "record,", "delta", "1e-5)"] in lines
    assert ["b", "BudgetSpent", "0", "0", "0", "0", "2.9"] in lines
    assert ["a", "Idle", "0", "0", "0", "0", "-"] in lines


def test_transitions_are_told_once():
    lines = transitions({}, STATUS)
    assert lines == [
        "round 3/3 committed",
        "metrics of round 3: accuracy 0.75",
        "site a: Failed: gone",
        "phase Complete",
    ]
    assert transitions(STATUS, STATUS) == []
    sites = [
        {"name": "a", "reason": "Starting", "message": "1 of 2 workers run"},
        {"name": "b", "reason": "TaskFailed", "message": "why"},
    ]
    assert transitions(STATUS, STATUS | {"sites": sites}) == ["site b: TaskFailed: why"]
    spent = [{"name": "a", "state": "BudgetSpent", "message": "PrivacyBudgetSpent: enough"}]
    assert transitions(STATUS, STATUS | {"clients": spent}) == ["site a: BudgetSpent: PrivacyBudgetSpent: enough"]


def test_sites_with_several_workers_show_how_many_are_ready():
    job = {"metadata": {"name": "j"}, "status": STATUS | {"sites": [{"name": "b", "ready": 1}]}}

    assert ["b", "Idle", "1/2", "0", "3", "2", "0"] in drawn(job, {"a": 1, "b": 2})
    assert ["b", "Idle", "0", "3", "2", "0"] in drawn(job, {"a": 1, "b": 1})


def test_a_result_that_finds_no_room_is_one_line():
    with pytest.raises(CommandError, match=r"--result: /dev/full cannot be written \(No space left on device\)"):
        write(Path("/dev/full"), {})
