"""The chart as tests see it: helm found, run, and its output as objects.

Every test of this folder goes through here; nothing is asserted here.
"""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from fedapi.jsonvalue import Json
from tests.cluster import tools

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "fedloom"
VALUES = Path(__file__).parent / "values"
NAMESPACE = "fedloom-system"
KUBE_VERSION = "1.34.0"  # helm asks the cluster; without one, a helm built from source assumes 1.20


class HelmError(Exception):
    """helm ended with an error; its words are the message."""


def helm(*words: str | Path) -> str:
    """helm's stdout. $FEDLOOM_HELM, else the one that the local cluster's tools hold."""
    program = Path(os.environ.get("FEDLOOM_HELM") or tools.binary("helm"))
    if not program.exists():
        raise HelmError(f"no helm at {program}: run `make cluster-tools`, or set FEDLOOM_HELM to a helm 3 program")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def template_text(*words: str | Path, release: str = "fedloom") -> str:
    """The rendered manifests of a release in NAMESPACE."""
    return helm("template", release, CHART, "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION, *words)


def template(*words: str | Path, release: str = "fedloom") -> list[Json]:
    """The rendered objects."""
    return [each for each in yaml.safe_load_all(template_text(*words, release=release)) if each]


@cache
def of_values(name: str) -> list[Json]:
    """The rendered objects of one of the values files beside this module; not to be changed."""
    return template("--values", VALUES / f"{name}.yaml")


def of_kind(objects: list[Json], kind: str) -> list[Json]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def the(objects: list[Json], kind: str) -> Json:
    """The only one of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pods(objects: list[Json]) -> Iterator[Json]:
    """Every pod and pod template: metadata and spec."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each
        elif "template" in each.get("spec", {}):
            yield each["spec"]["template"]


def environment(objects: list[Json]) -> dict[str, str]:
    """The operator's environment; fields of the pod are shown as their path."""
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {
        each["name"]: each["value"] if "value" in each else each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container["env"]
    }
