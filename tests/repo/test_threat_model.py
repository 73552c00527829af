"""The threat model names tests that exist, and says of each adversary of the list what holds and what does not."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs/threat-model.md").read_text()
ADVERSARIES = (
    "Curious hub", "Malicious hub", "Malicious site", "Colluding sites", "Network", "Strangers at the port", "Store provider",
    "Who can write the store", "Author of a job", "Reader of single updates", "Reader of the models", "Who wants the model",
)  # fmt: skip


def rows():
    lines = [line for line in PAGE.splitlines() if line.startswith("| **")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_tests_that_it_names_exist():
    named = re.findall(r"`(tests/[^`]+)`", PAGE)
    assert len(named) > 15
    assert [each for each in named if not (Path(__file__).resolve().parents[2] / each).is_file()] == []


def test_each_adversary_has_what_holds_by_what_shown_by_what_and_what_does_not():
    found = {re.match(r"\*\*([^*]+)\*\*", row[0]).group(1): row for row in rows()}
    assert tuple(found) == ADVERSARIES
    assert all(len(row) == 5 and all(row) for row in found.values())
    assert [name for name, row in found.items() if "`tests/" not in row[3]] == []
