"""Writes the CRDs: `python -m fedapi.crd crds charts/fedloom/crd-bases` (each argument is a directory)."""

import sys
from pathlib import Path

import yaml

from fedapi.crd.manifest import definitions

HEADER = "# Generated from fedapi.crd by `make generate`: change the models, not this file.\n"


class _Plain(yaml.SafeDumper):
    """YAML without anchors: every part of a schema is written where it stands."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def main(directories: list[str]) -> None:
    """Writes one file per kind into each directory."""
    for directory in map(Path, directories):
        directory.mkdir(parents=True, exist_ok=True)
        for name, body in definitions().items():
            (directory / name).write_text(HEADER + yaml.dump(body, Dumper=_Plain, sort_keys=False, width=120))


if __name__ == "__main__":
    main(sys.argv[1:] or ["crds"])
