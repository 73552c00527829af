"""The audits: bandit's rules hold without silent exceptions, and `make audit` tells what it found from what it could not ask."""

import json
import re
from pathlib import Path

import pytest

from tests.repo.test_layout import PROJECT, ROOT, tracked
from tools import audit

LINT = PROJECT["tool"]["ruff"]["lint"]


def test_bandits_rules_are_on_for_all_that_is_shipped_or_run():
    assert LINT["select"] == ["ALL"]
    assert [rule for rule in LINT["ignore"] if re.fullmatch(r"S\d*", rule)] == []
    of_files = LINT["per-file-ignores"]
    silent = {where: [rule for rule in rules if re.fullmatch(r"S\d*", rule)] for where, rules in of_files.items()}
    assert {where for where, rules in silent.items() if rules} == {"tests/**", "tools/**", "examples/**"}
    assert silent["tools/**"] == ["S603", "S607"], "programs of the developer's own, with words of ours"


@pytest.mark.parametrize("root", ["operator", "trainer", "tools"])
def test_an_exception_from_bandits_rules_says_why(root):
    silent = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(f"{root}/**.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# noqa: [A-Z0-9, ]*\bS\d+", line) and not re.search(r"# noqa: [A-Z0-9, ]+ - \w", line)
    ]
    assert silent == []


def answer(*dependencies):
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


BAD = {"name": "old", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}, {"id": "CVE-2"}]}
GOOD = {"name": "new", "version": "3", "vulns": []}
SKIPPED = {"name": "odd", "skip_reason": "it is not there"}


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "said"),
    [
        (answer(GOOD), "", 0, ["no known vulnerability in 1 packages"]),
        (answer(GOOD, BAD), "", 1, ["old 1: CVE-1, mended in 2", "old 1: CVE-2, mended in no version yet"]),
        (answer(GOOD, SKIPPED), "", 3, ["odd: not looked up: it is not there"]),
        ("", "a\nb\nERROR: cannot connect\n", 3, ["a", "b", "ERROR: cannot connect"]),
        ("", "", 3, ["it said nothing"]),
        ("[1]", "", 3, ["it said nothing"]),
    ],
)
def test_what_the_program_says_is_told_apart(stdout, stderr, code, said):
    found, lines = audit.verdict(stdout, stderr)
    assert (found, lines[-len(said) :]) == (code, said)


def test_a_program_that_cannot_be_had_is_no_clean_audit(monkeypatch, tmp_path, capsys):
    def absent(_home: Path) -> Path:
        raise OSError("there is no network")

    monkeypatch.setattr(audit, "_program", absent)
    assert audit.main() == 3
    assert "nothing is known" in capsys.readouterr().err


def test_no_test_command_needs_the_internet_for_it():
    assert "audit" not in (ROOT / "tools" / "test_all.sh").read_text()
