"""The four topologies side by side, from the records of their runs: metric, rounds, time and bytes.

    python table.py [--workdir .fedloom] [--json FILE]

Nothing is reckoned: metrics and bytes are what the sites reported after the last round (evaluation.json of each job's store),
times those of the commits (commit.json), the data's size that of the files that prepare.py wrote.
"""

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
JOBS = {"centralized": True, "ring": True, "parameter-server": False, "federated": False}  # whether all rows are moved
HEAD = ("topology", "accuracy", "rounds", "seconds", "data moved", "sites - hub", "inside the ring", "moved / data")


def records(workdir: Path, job: str, name: str) -> list[dict[str, Any]]:
    """Of a job's rounds, in their order."""
    found = [json.loads(path.read_text()) for path in (workdir / job).glob(f"claims/*/control/*/*/rounds/*/*/{name}")]
    if not found:
        raise SystemExit(f"{workdir / job}: no {name} is there: run `fedloom run .` first, or give --workdir")
    return sorted(found, key=lambda record: record["round"])


def data_bytes(volumes: Path) -> int:
    """The sites' training data as they lie on the disk."""
    files = [path for path in volumes.glob("*-images/train.npz") if path.parent.name != "all-images"]
    if not files:
        raise SystemExit(f"{volumes}: no data are there: run prepare.py first")
    return sum(path.stat().st_size for path in files)


def measured(workdir: Path, job: str, data: int) -> dict[str, Any]:
    """A row: bytes are None where no site has counted them."""
    commits, last = records(workdir, job, "commit.json"), records(workdir, job, "evaluation.json")[-1]
    if last["round"] != commits[-1]["round"]:
        raise SystemExit(
            f"{job}: the model of round {commits[-1]['round']} was not evaluated: run it again with --fresh"
        )
    hub, ring = (_sum(last["clients"].values(), name) for name in ("hub_bytes", "ring_bytes"))
    moved = data * JOBS[job]
    return {
        "topology": job,
        "accuracy": last["metrics"]["accuracy"],
        "rounds": last["round"],
        "seconds": commits[-1]["committed_at"] - commits[1]["planned_at"],
        "data_bytes": moved,
        "hub_bytes": hub,
        "ring_bytes": ring,
        "ratio": None if hub is None or ring is None else (moved + hub + ring) / data,
    }


def _sum(clients: Any, name: str) -> float | None:
    values = [client.get(name) for client in clients]
    return None if None in values else sum(values)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """As the table shows it."""
    sizes = (
        "-" if row[name] is None else f"{row[name] / 1e6:.1f} MB" for name in ("data_bytes", "hub_bytes", "ring_bytes")
    )
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.1f}"
    return (row["topology"], f"{row['accuracy']:.3f}", str(row["rounds"]), f"{row['seconds']:.0f}", *sizes, ratio)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Compares the four topologies.")
    parser.add_argument("--workdir", type=Path, default=Path(".fedloom"), help="that of `fedloom run`")
    parser.add_argument("--volumes", type=Path, default=HERE / "volumes", help="what prepare.py has written")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    said = parser.parse_args()
    data = data_bytes(said.volumes)
    rows = [measured(said.workdir, job, data) for job in JOBS]
    print(f"training data of the four sites: {data / 1e6:.1f} MB\n")
    table = [HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if said.json:
        said.json.write_text(json.dumps({"data_bytes": data, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
