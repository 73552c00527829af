"""The table of `fedloom history`: what a person sees of each round."""

import csv
from io import StringIO

import pytest
from rich.console import Console

from fedcli.history import as_csv, as_table
from fedstore.historyrows import Measured, Row


def row(round_: int, **values) -> Row:
    plain = {
        "attempt": 1, "time": "2026-11-26T13:41:15.258Z", "seconds": 0.7244, "model_sha256": "a" * 64,
        "participants": ("a", "b"), "samples": 12, "missed": (), "failed_attempts": (), "bytes_up": 20, "bytes_down": 40,
        "rolled_back_to": None, "skipped": "", "anomalies": {}, "norms": {}, "cosines": {}, "training": {}, "evaluation": None, "held_out": None, "requested": None,
    }  # fmt: skip
    return Row(round_, **plain | values)


def shown(*rows: Row) -> list[list[str]]:
    out = StringIO()
    Console(file=out, width=200).print(as_table(list(rows)))
    return [line.split() for line in out.getvalue().splitlines()]


def test_sites_that_missed_a_round_and_attempts_that_failed_are_counted_apart():
    head, line = shown(row(3, attempt=2, missed=("c", "d", "e"), failed_attempts=("QuorumNotReached",)))
    assert dict(zip(head, line, strict=False))["MISSED"] == "3"
    assert dict(zip(head, line, strict=False))["FAILED"] == "1"


def test_the_headline_metric_is_shown_of_both_kinds_of_sites():
    measured = Measured({"loss": 0.25, "accuracy": 0.5}, 10)
    head, first, second = shown(
        row(0, evaluation=measured, held_out=Measured({"accuracy": 0.75}, 4)), row(1, bytes_up=None, rolled_back_to=0)
    )
    assert (head[-3:], first[-2:]) == (["ACCURACY", "HELD", "OUT"], ["0.5", "0.75"])
    assert (second[3:6], second[-2:]) == (["back", "to", "0"], ["-", "-"])
    assert second[second.index("40") - 1] == "-", "what an older version did not count"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1"])
def test_a_metric_of_a_site_is_no_formula_of_a_spreadsheet(name):
    measured = Measured({name: -0.5}, 10, {"a": {name: -0.5}})
    head, line = csv.reader(StringIO(as_csv([row(0, evaluation=measured)])))
    assert sorted(each for each in head if name in each) == [f"'{name}", f"'{name}[a]"]
    assert line[-2:] == ["-0.5", "-0.5"], "a number stays one"


@pytest.mark.parametrize("name", ["a\r=1", "a\n=1", "a\t=1", "\t=1", 'a",=1'])
def test_a_metric_of_a_site_adds_no_cell_and_no_line(name):
    text = as_csv([row(0, evaluation=Measured({name: 0.5}, 10))])
    head, line = csv.reader(StringIO(text, newline=""))
    assert len(text.splitlines()) == 2
    assert len(head) == len(line)
