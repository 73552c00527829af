"""Divides Fashion-MNIST among ten sites: volumes/<site>-images/{train,test}.npz.

The data are those of the Debian package dataset-fashion-mnist (apt-get install dataset-fashion-mnist). Of each
kind of clothing every site gets a share drawn from a Dirichlet distribution: the smaller alpha, the less the
sites are alike (Hsu, Qi and Brown 2019). The test images are divided evenly, so that the mean over the sites is
the accuracy on all 10,000.

    python prepare.py [--alpha 0.5] [--seed 7]
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
SITES = [f"site-{n:02d}" for n in range(10)]
KINDS = 10


def read(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n) of a part (train, t10k) in the IDX format."""
    files = [source / f"{part}-{what}.gz" for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise SystemExit(f"no file {missing[0]}: install the Debian package dataset-fashion-mnist, or give --source")
    images, labels = (gzip.decompress(file.read_bytes()) for file in files)
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def dirichlet(labels: np.ndarray, alpha: float, rng: np.random.Generator, sites: int | None = None) -> list[np.ndarray]:
    """Positions per site, in ascending order; every position is at one site. `sites`: how many, if not those of SITES."""
    count = len(SITES) if sites is None else sites
    parts: list[list[np.ndarray]] = [[] for _ in range(count)]
    for kind in range(KINDS):
        members = rng.permutation(np.flatnonzero(labels == kind))
        ends = np.cumsum(rng.dirichlet([alpha] * count))[:-1] * len(members)
        for part, chunk in zip(parts, np.split(members, ends.astype(int)), strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Divides Fashion-MNIST among ten sites.")
    parser.add_argument("--alpha", type=float, default=0.5, help="of the Dirichlet distribution; small: sites differ")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of volumes/")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    train, test = read(arguments.source, "train"), read(arguments.source, "t10k")
    divided = dirichlet(train[1], arguments.alpha, rng)
    tested = np.array_split(rng.permutation(len(test[1])), len(SITES))
    for site, of_train, of_test in zip(SITES, divided, tested, strict=True):
        folder = arguments.out / "volumes" / f"{site}-images"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "train.npz", images=train[0][of_train], labels=train[1][of_train])
        np.savez(folder / "test.npz", images=test[0][of_test], labels=test[1][of_test])
        kinds = np.bincount(train[1][of_train], minlength=KINDS)
        print(f"{folder}: {len(of_train)} train ({' '.join(map(str, kinds))}), {len(of_test)} test")


if __name__ == "__main__":
    main()
