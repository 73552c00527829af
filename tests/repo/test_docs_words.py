"""Words that a page shows in backticks, as the status or a log would, are words that the programs say."""

import re
from pathlib import Path

import pytest

from fedaggregator.engine import records
from fedcore.rounds import closing, reopening
from fedoperator.decide.reasons import ConditionType

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CAMEL = r"\b[A-Z][a-z]+(?:[A-Z][a-z]*)+\b"
REFERENCE = "".join((ROOT / "docs/reference" / name).read_text() for name in ("reasons.md", "exit-codes.md"))
SOURCE = "".join(path.read_text() for top in ("operator", "trainer") for path in (ROOT / top).rglob("*.py"))
KNOWN = {*re.findall(CAMEL, REFERENCE), *re.findall(rf'"({CAMEL})"', SOURCE)}


def shown(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(CAMEL, span)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_reasons_named_in_pages_exist(page):
    assert shown(page) <= KNOWN


def test_why_attempts_and_jobs_fail_is_told():
    told = {
        closing.QUORUM_NOT_REACHED,
        closing.MODEL_NOT_FINITE,
        closing.SECURE_AGGREGATION_FAILED,
        reopening.UPDATE_DAMAGED,
        records.RECORD_DAMAGED,
    }
    assert told <= shown(ROOT / "docs/troubleshooting.md")


def test_the_check_finds_reasons():
    assert {"NoMatchingSites", "ImageError"} <= shown(ROOT / "docs/troubleshooting.md") & KNOWN
    assert not {"NoSites", "ImagePull"} & KNOWN


def test_the_table_of_conditions_is_complete():
    table = (ROOT / "docs/concepts.md").read_text().partition("| condition |")[2]
    rows = re.findall(r"^\| ([A-Z]\w+(?:, \w+)*) \|", table, flags=re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == {str(name) for name in ConditionType}
