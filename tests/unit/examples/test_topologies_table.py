"""What examples/topologies/table.py makes of records, and says where there are none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "examples" / "topologies"
JOBS = ("centralized", "ring", "parameter-server", "federated")


def table(folder):
    command = [FOLDER / "table.py", "--workdir", folder / "state", "--volumes", folder / "volumes"]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


@pytest.fixture
def made(tmp_path):
    """Two sites' data, and jobs of two rounds whose sites have counted nothing, as where there is no Linux."""
    for volume, size in (("north", 600_000), ("east", 400_000), ("all", 1_000_000)):
        (tmp_path / "volumes" / f"{volume}-images").mkdir(parents=True)
        (tmp_path / "volumes" / f"{volume}-images" / "train.npz").write_bytes(bytes(size))
    for job in JOBS:
        for round_ in range(3):
            folder = tmp_path / f"state/{job}/claims/store/control/ns/{job}-uid/rounds/{round_:06d}/e1-a1"
            folder.mkdir(parents=True)
            commit = {"round": round_, "planned_at": 10.0 * round_, "committed_at": 10.0 * round_ + 4}
            measured = {"round": round_, "metrics": {"accuracy": 0.25 * round_}, "clients": {"a": {}}}
            (folder / "commit.json").write_text(json.dumps(commit))
            (folder / "evaluation.json").write_text(json.dumps(measured))
    return tmp_path


def test_what_nobody_has_counted_is_left_open(made):
    said = table(made).stdout.splitlines()
    assert said[0] == "training data of the four sites: 1.0 MB"
    cells = {line.split()[0]: line.split()[1:] for line in said[3:]}
    assert cells["ring"] == ["0.500", "2", "14", "1.0", "MB", "-", "-", "-"]
    assert cells["federated"] == ["0.500", "2", "14", "0.0", "MB", "-", "-", "-"]


def test_a_run_that_is_missing_is_told(made):
    for path in (made / "state" / "ring").rglob("commit.json"):
        path.unlink()
    done = table(made)
    assert done.returncode == 1
    assert "no commit.json is there: run `fedloom run .` first, or give --workdir" in done.stderr


def test_data_that_are_missing_are_told(made):
    for path in (made / "volumes").glob("*/train.npz"):
        path.unlink()
    done = table(made)
    assert done.returncode == 1
    assert "run prepare.py first" in done.stderr


def test_a_last_model_that_nobody_evaluated_is_told(made):
    next((made / "state" / "federated").glob("**/000002/*/evaluation.json")).unlink()
    done = table(made)
    assert done.returncode == 1
    assert "federated: the model of round 2 was not evaluated: run it again with --fresh" in done.stderr
