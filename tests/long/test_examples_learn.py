"""What the examples' pages promise about accuracy, measured through `fedloom run`; figures go to build/long/."""

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster import packages

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "long"
TOPOLOGIES = ROOT / "examples" / "topologies"
HEARTS, FASHION = ROOT / "examples" / "heart-disease", ROOT / "examples" / "fashion-mnist"
TOLERANCE = 0.005  # of an accuracy between kinds of CPU; on one machine it is the same in every run

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def python(*words) -> str:
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def record(name: str, figures: dict) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\n{name}: {json.dumps(figures)}")


def test_four_hospitals_are_as_good_together_as_with_pooled_data(tmp_path):
    python(HEARTS / "prepare.py")
    print("\n" + python(HEARTS / "compare.py", "--seeds", "5", "--json", tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    record("heart-disease", figures)
    assert len(figures["seeds"]) == 5
    assert figures["mean_absolute_difference"] <= 0.02


def fashion(folder: Path, workdir: Path) -> dict:
    """One run: its digest, its cost, and the accuracy of every round's model."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    python("-m", "fedcli", "run", folder, "--workdir", workdir, "--result", workdir / "result.json")
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads((workdir / "result.json").read_text())
    reports = [
        json.loads(path.read_text()) for path in workdir.glob("*/claims/*/control/*/*/rounds/*/*/evaluation.json")
    ]
    return {
        "sha256": result["model"]["sha256"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "accuracy": {report["round"]: round(report["metrics"]["accuracy"], 4) for report in sorted(reports, key=lambda r: r["round"])},
    }  # fmt: skip


def promised() -> dict[int, float]:
    """Round and accuracy, from the table of the example's page."""
    page = (FASHION / "README.md").read_text()
    rounds, accuracies = (
        re.search(rf"^\| {head} \|(.+)\|$", page, re.MULTILINE).group(1) for head in ("round", "accuracy")
    )
    return {int(n): float(a) for n, a in zip(rounds.split("|"), accuracies.split("|"), strict=True)}


def test_ten_sites_learn_fashion_mnist_as_well_as_the_page_says_and_alike_twice(tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    packages.install({"dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"})
    for name in ("job.yaml", "sites.yaml", "fashion_mnist.py"):
        shutil.copy(FASHION / name, folder)
    python(FASHION / "prepare.py", "--out", folder)
    runs = []
    for n in range(2):
        workdir = tmp_path / f"run{n}"
        workdir.mkdir()
        runs.append(fashion(folder, workdir))
        record("fashion-mnist", {"runs": runs})
    assert runs[0]["sha256"] == runs[1]["sha256"]
    assert runs[0]["accuracy"] == runs[1]["accuracy"]
    measured = {n: runs[0]["accuracy"][n] for n in promised()}
    assert measured == pytest.approx(promised(), abs=TOLERANCE)


def test_four_topologies_learn_and_move_what_the_page_says(tmp_path):
    packages.install({"dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"})
    folder = tmp_path / "topologies"
    shutil.copytree(TOPOLOGIES, folder, ignore=shutil.ignore_patterns("volumes", ".fedloom"))
    shutil.copytree(FASHION, tmp_path / FASHION.name, ignore=shutil.ignore_patterns("volumes", ".fedloom"))
    python(folder / "prepare.py")
    python("-m", "fedcli", "run", folder, "--workdir", tmp_path / "state")
    print("\n" + python(folder / "table.py", "--workdir", tmp_path / "state", "--json", tmp_path / "figures.json"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    record("topologies", figures)
    page = (ROOT / "docs" / "topologies.md").read_text()
    for row in figures["rows"]:
        accuracy, rounds, *bytes_, _ = _told(page, row["topology"])
        measured = [row[name] / 1e6 for name in ("data_bytes", "hub_bytes", "ring_bytes")]
        assert row["accuracy"] == pytest.approx(accuracy, abs=0.03)
        assert row["rounds"] == rounds
        assert measured == pytest.approx(bytes_, rel=0.05, abs=0.1)


def _told(page: str, topology: str) -> list[float]:
    """The numbers of its row, but for the seconds."""
    cells = re.search(rf"^{topology} +(.+)$", page, re.MULTILINE).group(1).replace("MB", "").split()
    return [float(cell) for cell in (*cells[:2], *cells[3:])]
