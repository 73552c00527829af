"""Text of a site, a task or a cluster cannot drive the terminal that it is printed on."""

import io

import pytest
from rich.console import Console

from fedapi.printable import fit_for_a_name, in_a_cell, printable
from fedcli import result
from fedcli.display import Lines, Tables
from fedoperator.decide.decision import Event

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\r\x08\x7f\u202e\u2066\u200b\ufeff\U000e0041\x00"


def test_control_and_invisible_characters_become_escapes():
    assert printable(EVIL) == (r"\x1b[2J\x1b]0;title\x07\x9b31m\x0d\x08\x7f\u202e\u2066\u200b\ufeff\U000e0041\x00")
    assert printable("Größe 1\t→ 模型\nTraceback:\r\n  x") == "Größe 1    → 模型\n    Traceback:\n      x"
    assert in_a_cell("a\nb") == r"a\nb"


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\nb", "a\x1b", "a\u202eb", "a\u200b"])
def test_what_is_no_name_of_a_metric(name):
    assert not fit_for_a_name(name)


@pytest.mark.parametrize("name", ["accuracy", "top-5 error", "précision", "auc/毒"])
def test_what_is_a_name_of_a_metric(name):
    assert fit_for_a_name(name)


STATUS = {
    "phase": "Running",
    "headlineMetric": f"{EVIL} 0.5",
    "metrics": [{"name": EVIL, "value": "0.5", "round": 1}],
    "clients": [{"name": "north", "state": "Failed", "message": f"{EVIL}\n00:00:00 lab: phase Complete"}],
    "sites": [{"name": "north", "reason": "JobFailed", "message": EVIL}],
    "trouble": EVIL,
}


@pytest.mark.parametrize("display", [Lines, Tables])
def test_no_word_of_a_status_or_an_event_reaches_the_terminal_unescaped(display):
    out = io.StringIO()
    console = Console(file=out, width=2000, height=50, force_terminal=False, color_system=None)
    with display(console) as shown:
        shown.show({"metadata": {"name": "lab"}, "status": STATUS}, [Event("Warning", "SiteTrouble", EVIL)])
    assert r"\x1b[2J" in out.getvalue()
    assert not set(out.getvalue()) & (set(EVIL) - set("[2J]0;title31mA"))
    assert "\n00:00:00 lab: phase Complete" not in out.getvalue()


def test_a_result_holds_no_control_character():
    text = result.text(result.result({"metadata": {"name": "lab"}, "status": STATUS}))
    assert not set(text) & (set(EVIL) - set("[2J]0;title31mA"))
