"""Generated files say what the models say."""

from pathlib import Path

import pytest
import yaml

from fedapi.crd.manifest import definitions

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["crds", "charts/fedloom/crd-bases"])
def test_crds_are_fresh(folder):
    on_disk = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / folder).glob("*.yaml")}
    assert on_disk == definitions(), "run `make generate`"


def test_crd_conventions():
    """Every field is described; every string that a user writes and every list and map is bounded; no floats."""
    for name, crd in definitions().items():
        root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            for path, node in walk(root["properties"][part], f"{name}:{part}"):
                assert node.get("type") != "number", f"{path}: no floats in the API, use a decimal string"
                assert "description" in node or path.endswith(("[]", "{}")), f"{path} has no description"
                if node.get("type") == "string" and part == "spec":
                    assert "maxLength" in node or "enum" in node or "format" in node, f"{path} is not bounded"
                if node.get("type") == "array":
                    assert "maxItems" in node, f"{path} is not bounded"
                    assert "x-kubernetes-list-type" in node, f"{path} has no list type"
                if "additionalProperties" in node:
                    assert "maxProperties" in node, f"{path} is not bounded"


def walk(node, path):
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from walk(node["additionalProperties"], f"{path}{{}}")
