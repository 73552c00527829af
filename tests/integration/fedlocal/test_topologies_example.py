"""The example of topologies as its page runs it, on a few made-up images: what is in its table was measured."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.commands import fedloom

FOLDER = Path(__file__).parents[3] / "examples" / "topologies"
TRAIN, TEST, ROUNDS = 200, 80, 2
MODEL = 4 * 5258  # bytes of its parameters
STEPS = -(-TRAIN // 32) * ROUNDS  # of a ring


def python(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def write_images(folder):
    """Noise in the form of the package's files."""
    folder.mkdir()
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        rng = np.random.default_rng(count)
        pixels, labels = rng.bytes(count * 28 * 28), rng.integers(0, 10, count, np.uint8).tobytes()
        for name, content in (("images-idx3", bytes(16) + pixels), ("labels-idx1", bytes(8) + labels)):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content, 1))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """What it prints, and the same as rows by topology."""
    home = tmp_path_factory.mktemp("topologies")
    folder = home / "topologies"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("volumes", ".fedloom", "__pycache__"))
    shutil.copytree(FOLDER.parent / "fashion-mnist", home / "fashion-mnist", ignore=shutil.ignore_patterns("volumes"))
    for path in folder.glob("*.yaml"):
        documents = list(yaml.safe_load_all(path.read_text()))
        for body in documents:
            if body["kind"] == "FederatedJob":
                body["spec"]["rounds"] = ROUNDS
        path.write_text(yaml.safe_dump_all(documents))
    write_images(home / "package")
    python(folder / "prepare.py", "--source", home / "package", "--train", TRAIN, "--test", TEST)
    fedloom("run", folder, "--workdir", home / "state")
    said = python(folder / "table.py", "--workdir", home / "state", "--json", home / "rows.json")
    found = json.loads((home / "rows.json").read_text())
    return said, found["data_bytes"], {row["topology"]: row for row in found["rows"]}


def test_each_topology_has_a_row(table):
    said, _, rows = table
    assert [line.split()[0] for line in said.splitlines()[3:]] == list(rows)
    assert {row["rounds"] for row in rows.values()} == {ROUNDS}
    assert all(0 <= row["accuracy"] <= 1 and row["seconds"] > 0 for row in rows.values())


def test_data_are_moved_where_rows_are_brought_together(table):
    _, data, rows = table
    assert TRAIN * 28 * 28 < data < TRAIN * 28 * 28 + 4 * 4096
    moved = {name: row["data_bytes"] for name, row in rows.items()}
    assert moved == {"centralized": data, "ring": data, "parameter-server": 0, "federated": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="connections are counted by Linux alone")
def test_bytes_are_those_of_models_updates_and_gradients(table):
    """Models go down once more than updates go up: the last one is evaluated. As text in messages they are a third larger."""
    _, data, rows = table
    for name, row in rows.items():
        sites = 1 if row["data_bytes"] else 4
        least = sites * (2 * ROUNDS + 1) * MODEL
        assert least < row["hub_bytes"] < 2.5 * least
        gradients = STEPS * 2 * MODEL
        assert (gradients < row["ring_bytes"] < 1.5 * gradients) if name == "ring" else row["ring_bytes"] == 0
        assert row["ratio"] == (row["data_bytes"] + row["hub_bytes"] + row["ring_bytes"]) / data
