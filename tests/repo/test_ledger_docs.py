"""docs/ledger.md tells every kind of entry, and commands that exist."""

import re
from pathlib import Path

import typer

from fedcli.ledger import app
from fedcore.ledger.entries import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text()


def test_every_kind_is_told():
    table = PAGE.partition("## What is in it")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(KINDS)


def test_commands_of_the_page_exist():
    group = typer.main.get_command(app)
    known = {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for name, command in group.commands.items()
    }
    said = re.findall(r"^\$ fedloom ledger (\w+) ?(.*)$", PAGE, flags=re.MULTILINE)
    assert {name for name, _ in said} == set(known)
    for name, words in said:
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", words)) <= known[name]
