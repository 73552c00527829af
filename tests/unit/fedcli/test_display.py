"""The table of a run's sites: all of few, the ones that need a look of many."""

import io

from rich.console import Console

from fedcli.display import SITES_SHOWN, Tables


def shown(clients, participants):
    out = io.StringIO()
    console = Console(file=out, width=120, height=200, color_system=None)
    table = Tables(console)
    job = {"metadata": {"name": "lab"}, "status": {"clients": clients, "participants": participants}}
    console.print(table.drawn(job))
    return out.getvalue()


def client(name, state="Accepted"):
    return {"name": name, "state": state, "rounds": 1}


def test_few_sites_are_all_shown_by_name():
    text = shown([client("south", "Failed"), client("north")], "2/2")
    assert text.index("north") < text.index("south")
    assert "more" not in text


def test_of_many_sites_those_that_failed_are_shown_and_the_others_counted():
    text = shown([*(client(f"s{number:03}") for number in range(99)), client("zoe", "Failed")], "990/1000")
    assert "zoe" in text
    assert sum(line.lstrip().startswith(("s0", "zoe")) for line in text.splitlines()) == SITES_SHOWN
    assert f"and {1000 - SITES_SHOWN} more" in text
