"""A small part of Fashion-MNIST for two sites: volumes/<site>-images/{train,test}.npz, or ConfigMaps of the same.

The data are those of the Debian package dataset-fashion-mnist (apt-get install dataset-fashion-mnist), read as the
example fashion-mnist reads them. Each site gets 1,000 training and 300 test images of its own, small enough for a
ConfigMap.

    python prepare.py [--configmaps FILE]
"""

import argparse
import base64
import io
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fashion-mnist"))
from prepare import SOURCE, read

SITES = ("east", "west")
TRAIN, TEST = 1000, 300  # per site


def chosen(source: Path, seed: int) -> dict[str, dict[str, bytes]]:
    """Volume name -> file name -> content."""
    rng = np.random.default_rng(seed)
    volumes: dict[str, dict[str, bytes]] = {f"{site}-images": {} for site in SITES}
    for file, part, count in (("train.npz", "train", TRAIN), ("test.npz", "t10k", TEST)):
        images, labels = read(source, part)
        order = rng.permutation(len(labels))
        for number, files in enumerate(volumes.values()):
            of_site = order[number * count : (number + 1) * count]
            packed = io.BytesIO()
            np.savez_compressed(packed, images=images[of_site], labels=labels[of_site])
            files[file] = packed.getvalue()
    return volumes


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Takes a small part of Fashion-MNIST for two sites.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of volumes/")
    parser.add_argument("--configmaps", type=Path, help="write ConfigMaps to this file instead")
    arguments = parser.parse_args()
    volumes = chosen(arguments.source, arguments.seed)
    if arguments.configmaps:
        bodies = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "binaryData": {file: base64.b64encode(content).decode() for file, content in files.items()},
            }
            for name, files in volumes.items()
        ]
        arguments.configmaps.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
        return
    for name, files in volumes.items():
        folder = arguments.out / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        print(f"{folder}: " + ", ".join(f"{file} {len(content) >> 10} KiB" for file, content in files.items()))


if __name__ == "__main__":
    main()
