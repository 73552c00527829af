"""Fashion-MNIST at four sites, and the same rows in one place: volumes/<site>-images and volumes/all-images.

The data are those of the Debian package dataset-fashion-mnist (apt-get install dataset-fashion-mnist), read and divided as
the example fashion-mnist does it: of each kind of clothing a site has a share drawn from a Dirichlet distribution.

    python prepare.py [--alpha 0.5] [--seed 7] [--train 4000] [--test 2000]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fashion-mnist"))
from prepare import SOURCE, dirichlet, read

HERE = Path(__file__).resolve().parent
SITES = ("north", "east", "south", "west")
ALL = "all"


def divided(
    source: Path, alpha: float, seed: int, train: int, test: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Volume -> file -> arrays: each site's, and all together in the same order."""
    rng = np.random.default_rng(seed)
    parts = {}
    for file, part, count in (("train.npz", "train", train), ("test.npz", "t10k", test)):
        images, labels = read(source, part)
        chosen = rng.permutation(len(labels))[:count]
        parts[file] = images[chosen], labels[chosen]
    rows = {
        "train.npz": dirichlet(parts["train.npz"][1], alpha, rng, len(SITES)),
        "test.npz": np.array_split(np.arange(len(parts["test.npz"][1])), len(SITES)),
    }
    volumes = {
        f"{site}-images": {file: _taken(parts[file], rows[file][number]) for file in parts}
        for number, site in enumerate(SITES)
    }
    together = {file: _taken(parts[file], np.concatenate(rows[file])) for file in parts}
    return {**volumes, f"{ALL}-images": together}


def _taken(part: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    images, labels = part
    return {"images": images[rows], "labels": labels[rows]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fashion-MNIST at four sites, and in one place.")
    parser.add_argument("--alpha", type=float, default=0.5, help="of the Dirichlet distribution; small: sites differ")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train", type=int, default=4000, help="training images, all sites together")
    parser.add_argument("--test", type=int, default=2000, help="test images, all sites together")
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of volumes/")
    said = parser.parse_args()
    for volume, files in divided(said.source, said.alpha, said.seed, said.train, said.test).items():
        folder = said.out / "volumes" / volume
        folder.mkdir(parents=True, exist_ok=True)
        for file, arrays in files.items():
            np.savez(folder / file, **arrays)
        kinds = np.bincount(files["train.npz"]["labels"], minlength=10)
        print(f"{folder}: {kinds.sum()} train ({' '.join(map(str, kinds))}), {len(files['test.npz']['labels'])} test")


if __name__ == "__main__":
    main()
