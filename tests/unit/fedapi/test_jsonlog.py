"""Log lines of hub and sites have one form."""

import json
import logging
import sys

import pytest

from fedapi import jsonlog
from fedapi.jsonlog import JsonLines, in_log


def line(message: str = "hello %s", *args: object, fields: dict | None = None, error: bool = False) -> dict:
    told = sys.exc_info() if error else None
    record = logging.LogRecord("fedloom.part", logging.WARNING, "f", 1, message, args or ("you",), told)
    if fields is not None:
        record.fields = fields
    return json.loads(JsonLines().format(record))


def test_a_line_says_when_how_bad_who_and_what():
    said = line(fields={"site": "a", "seconds": 0.5})
    assert list(said) == ["time", "level", "logger", "message", "site", "seconds"]
    assert (said["level"], said["logger"], said["message"]) == ("WARNING", "fedloom.part", "hello you")
    assert said["time"].endswith("+00:00")


def test_fields_of_the_place_and_of_the_process(monkeypatch):
    monkeypatch.setattr(jsonlog, "_ALWAYS", {})
    jsonlog.always(rank=3)
    with in_log(job="ns/j"), in_log(round=2):
        said = line(fields={"round": 7})
    assert (said["rank"], said["job"], said["round"]) == (3, "ns/j", 7)
    assert "job" not in line()


@pytest.mark.parametrize("name", ["time", "level", "logger", "message"])
def test_a_field_never_takes_the_place_of_the_forms_own(name):
    assert line(fields={name: "forged"})[name] != "forged"


def test_lines_stay_lines_and_tracebacks_are_in_them():
    try:
        int("two\nlines")
    except ValueError:
        said = line("bad\nnews: %s", object, error=True)
    assert "ValueError: invalid literal" in said["error"]
    assert said["message"].startswith("bad\nnews: <class")
