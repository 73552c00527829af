"""The hub's Dockerfile: one text for two images, which differ in what they install and what they start."""

import re
from pathlib import Path

import pytest

from fedapi import names
from tests.cluster.images import OWN

TEXT = (Path(__file__).resolve().parents[3] / "images" / "hub" / "Dockerfile").read_text()
PROGRAMS = ("aggregator", "operator")
EXTRAS = {"aggregator": "hub", "operator": "operator"}  # backups run from the aggregator's image
PARTS = re.split(r"^FROM (\S+) AS (\S+)$", TEXT, flags=re.MULTILINE)
STAGES = {name: (below, body) for below, name, body in zip(PARTS[1::3], PARTS[2::3], PARTS[3::3], strict=True)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_is_a_target_that_starts_isolated(program):
    below, body = STAGES[program]
    assert below == "program"
    words = ", ".join(f'"{word}"' for word in [*names.AGGREGATOR_COMMAND[:-1], f"fed{program}"])
    assert [line for line in body.splitlines() if line.startswith("ENTRYPOINT")] == [f"ENTRYPOINT [{words}]"]
    assert (OWN[program].folder, OWN[program].target, OWN[program].arguments) == (
        "hub",
        program,
        {"PROGRAM": EXTRAS[program]},
    )


def test_both_share_every_stage_and_the_argument_decides_what_is_installed():
    assert [*STAGES] == ["venv", "plan", "program", "aggregator", "operator"]
    assert [STAGES[name][0] for name in ("venv", "plan", "program")] == ["${BASE_IMAGE}", "venv", "venv"]
    assert 'ARG PROGRAM\nRUN /opt/fedloom/bin/python /plan/plan.py "${PROGRAM:?}"\n' in STAGES["plan"][1]
    assert "ARG PROGRAM" not in PARTS[0], "without a default: an image with the other's dependencies is never built"
    assert STAGES["program"][1].index("fedloom-*.whl") < STAGES["program"][1].index("USER 65532:65532")
