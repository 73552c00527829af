"""Each extra alone imports its process: a requirement that only another extra brings would be found by users first."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

ONLY = """
import sys
from importlib.machinery import PathFinder
class Only(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {names!r} else super().find_spec(name, path, target)
sys.meta_path = [Only if each is PathFinder else each for each in sys.meta_path]
import {modules}
"""


def of_extra(extra: str) -> set[str]:
    """Names of the distributions that an installation with this extra has."""
    wanted = [Requirement(each) for each in [*PROJECT["dependencies"], *EXTRAS[extra]]]
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == "fedloom":
            wanted += [Requirement(each) for other in extras for each in EXTRAS[other]]
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in (*extras, "")):
                wanted.append(inner)
    return found


@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        ("operator", "fedoperator.handlers, fedoperator.cluster"),
        ("aggregator", "fedaggregator.http, fedaggregator.settings"),
        ("hub", "fedregistry.__main__, fedstore.care.s3, fedstore.care.gcs, fedstore.care.azure"),
        ("backup", "fedbackup.__main__, fedbackup.adapters.kubernetes"),
        ("trainer", "fedtrainer.agent.work, fedtrainer.launch.launcher"),
        ("horovod", "fedtrainer.agent.work, horovod.torch"),
        ("xla", "fedtrainer.agent.work, torch_xla"),
        ("dpsgd", "fedtrainer.training.dpsgd.steps"),
        ("cli", "fedcli.__main__"),
        ("local", "fedcli.__main__, fedlocal"),
    ],
)
def test_an_extra_alone_imports_its_process(extra, modules):
    brought = of_extra(extra)
    refused = {
        name
        for name, distributions in metadata.packages_distributions().items()
        if not {canonicalize_name(each) for each in distributions} & (brought | {"fedloom", "setuptools", "pip"})
    }
    done = subprocess.run(
        [sys.executable, "-c", ONLY.format(names=refused, modules=modules)],
        capture_output=True, text=True, check=False, cwd=ROOT / "tests",
        env={"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer'}", "PJRT_DEVICE": "CPU", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
