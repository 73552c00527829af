"""The heart-disease example with secure aggregation, or encrypted sums, and noise of the hospitals, as its page runs it, on made-up patients."""

import importlib.util
import json
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import fedloom

EXAMPLE = Path(__file__).parents[3] / "examples" / "heart-disease"
ROUNDS = 15


def module(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_example", EXAMPLE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def hospitals(tmp_path):
    """The example's folder with a few patients in each hospital; the older ones are ill."""
    prepare, drawn = module("prepare"), random.Random(7)
    folder = tmp_path / "heart-disease"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("volumes", ".fedloom", "__pycache__"))
    for name in prepare.SITES.values():
        volume = folder / "volumes" / f"{name}-patients"
        volume.mkdir(parents=True)
        for file, count in (("train.csv", 40), ("test.csv", 20)):
            rows = []
            for _ in range(count):
                age = drawn.randrange(30, 78)
                numbers = {"age": age, "trestbps": 132, "chol": 200, "thalach": 138, "oldpeak": 1}
                flags = {name: drawn.randrange(2) for name in (*prepare.FLAGS, *prepare.LEVELS)}
                rows.append({key: str(value) for key, value in {**numbers, **flags, "disease": int(age > 54)}.items()})
            (volume / file).write_text(prepare.as_csv(rows))
    return folder


def run(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(("kind", "epsilon"), [((), None), ((), 60), (("--encrypted",), None), (("--encrypted",), 60)])
def test_the_example_learns_from_sums_alone(hospitals, tmp_path, kind, epsilon):
    out = tmp_path / "secure"
    run(hospitals / "secure.py", out, *kind, *(("--epsilon", epsilon) if epsilon else ()))
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    fedloom("run", out, "--workdir", tmp_path / "state", "--result", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["rounds"] == ROUNDS
    assert result["metrics"]["accuracy"] > 0.7
    (path,) = (tmp_path / "state").glob("*/aggregator-status.json")
    said = json.loads(path.read_text()).get("privacy")
    if epsilon is None:
        assert said is None
    else:
        assert said["mode"] == "Distributed"
        assert float(said["epsilon"]) == pytest.approx(60, rel=1e-3)
