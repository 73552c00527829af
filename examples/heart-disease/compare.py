"""Is federated as good as pooled? Runs the job with five seeds through `fedloom run`, and pooled.py beside it.

Prints both accuracies per seed and the mean of their absolute differences; ends with 1 when that is over 0.02.

    python compare.py [--seeds 5] [--json FILE]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from pooled import HERE, accuracy

TOLERANCE = 0.02
COPIED = ("sites.yaml", "heart_disease.py")


def federated(seed: int) -> float:
    """Accuracy of the last round's model, by the aggregator's own report, of the job with another seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "manifests")
        folder.mkdir()
        for file in COPIED:
            shutil.copy(HERE / file, folder)
        shutil.copytree(HERE / "volumes", folder / "volumes")
        job = yaml.safe_load((HERE / "job.yaml").read_text())
        job["spec"]["seed"] = seed
        (folder / "job.yaml").write_text(yaml.safe_dump(job))
        result = Path(name, "result.json")
        command = [sys.executable, "-m", "fedcli", "run", str(folder), "--workdir", str(Path(name, "work"))]
        run = subprocess.run([*command, "--result", str(result)], check=False, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"seed {seed}: fedloom run ended with {run.returncode}\n{run.stdout}{run.stderr}")
        return float(json.loads(result.read_text())["metrics"]["accuracy"])


def compared(seeds: list[int]) -> dict[str, Any]:
    """Both accuracies per seed, and the mean of their absolute differences."""
    table = []
    for seed in seeds:
        row = {"seed": seed, "federated": federated(seed), "pooled": accuracy(seed)}
        print("seed {seed}: federated {federated:.4f}, pooled {pooled:.4f}".format(**row), flush=True)
        table.append(row)
    means = {kind: fmean(row[kind] for row in table) for kind in ("federated", "pooled")}
    difference = fmean(abs(row["federated"] - row["pooled"]) for row in table)
    return {"seeds": table, **means, "mean_absolute_difference": difference, "tolerance": TOLERANCE}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Compares federated and pooled training.")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 1")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = compared(list(range(1, arguments.seeds + 1)))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    difference = result["mean_absolute_difference"]
    print(
        f"mean: federated {result['federated']:.4f}, pooled {result['pooled']:.4f}, "
        f"|federated - pooled| {difference:.4f} (at most {TOLERANCE})"
    )
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
