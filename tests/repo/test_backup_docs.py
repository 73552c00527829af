"""docs/backup.md tells every reason that a backup can fail for, and commands that exist."""

import re
from pathlib import Path

import typer

from fedbackup.errors import Reason
from fedcli.backup import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "backup.md").read_text()


def test_every_reason_is_told_with_a_way_out():
    table = PAGE.partition("## When a backup fails")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([A-Z]\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, flags=re.MULTILINE))))
    elsewhere = {Reason.BAD_SETTINGS, Reason.NO_BACKUP, Reason.STATUS_REFUSED}  # the message itself says what to name
    assert told == {str(reason) for reason in Reason} - elsewhere


def test_commands_of_the_page_exist():
    group = typer.main.get_command(app)
    known = {name: {o for p in command.params for o in p.opts} for name, command in group.commands.items()}
    said = re.findall(r"^ *fedloom backup (\w+) (.*)$", PAGE, flags=re.MULTILINE)
    assert {name for name, _ in said} == {"list", "verify", "manifests", "restore"}
    for name, words in said:
        assert set(re.findall(r"--[a-z-]+", words)) <= known[name]
