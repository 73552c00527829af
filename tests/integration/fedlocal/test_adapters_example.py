"""The example of adapters as its page runs it: it learns, and a round carries a small part of the model."""

import json
import re
import shutil
from pathlib import Path

from safetensors.numpy import load_file

from tests import commands

FOLDER = Path(__file__).parents[3] / "examples" / "adapters"


def fedloom(folder, *arguments):
    return commands.fedloom(*arguments, "--workdir", folder / "state").stdout


def test_the_example_learns_and_its_rounds_are_small(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "adapters")
    output = fedloom(folder, "run", str(folder))
    (accuracy,) = re.findall(r"^metrics: accuracy ([\d.]+)", output, re.MULTILINE)
    assert float(accuracy) > 0.85, output
    carried = fedloom(folder, "model", "list", "adapters").splitlines()[-1]
    part, whole = map(int, re.findall(r"a round carries (\d+) bytes each way, the whole model has (\d+)", carried)[0])
    assert 50 * part < whole
    assert carried in (FOLDER / "README.md").read_text(), "the page says so"
    alone = tmp_path / "alone.safetensors"
    fedloom(folder, "model", "pull", "adapters", "--exchanged", "-o", str(alone))
    names = load_file(alone).keys()
    assert names == {name for name in names if "lora_" in name or name.startswith("classifier.")}
    assert alone.stat().st_size == part
    (plan,) = folder.glob("state/*/claims/*/control/**/000003/*/plan.json")
    said = json.loads(plan.read_text())
    assert (said["overrides"], said["strategy"]["sub_models"]) == (
        [{"clients": ["porto"], "model_width": 0.5}],
        "ZeroPadding",
    )
