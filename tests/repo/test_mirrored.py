"""Tests lie where their subject does: folders below the kinds of tests are packages, a policy's test file has its name."""

import ast
from pathlib import Path

import pytest

from tests.repo.test_layout import ROOT, SOURCE_ROOTS, tracked

# Subjects that are no package of ours.
OTHERS = {
    "unit/examples", "unit/images",
    "integration/crds", "integration/packaging", "integration/pools", "integration/protocol",
    "chaos/cluster",
}  # fmt: skip
KINDS = ("unit", "property", "golden", "contract", "integration", "chaos")
OPERATOR = ROOT / "operator" / "fedoperator"


def _source(folder: Path) -> Path:
    """Where the package is that a folder of tests is named after."""
    kind, *inside = folder.relative_to(ROOT / "tests").parts
    assert kind in KINDS
    found = (path for root in SOURCE_ROOTS if (path := ROOT.joinpath(root, *inside)).is_dir())
    return next(found, ROOT / "no such package")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_tests_is_named_after_what_it_tests(kind):
    folders = {path.parent for path in tracked(f"tests/{kind}/**/test_*.py")}
    named = {str(folder.relative_to(ROOT / "tests")): folder for folder in folders}
    assert named
    assert [name for name, folder in named.items() if name not in OTHERS and not (_source(folder) / "__init__.py").exists()] == []  # fmt: skip


def test_the_exceptions_are_needed():
    assert [name for name in OTHERS if not (ROOT / "tests" / name).is_dir()] == []
    assert [name for name in OTHERS if _source(ROOT / "tests" / name).exists()] == []


def _policies() -> list[Path]:
    modules = sorted((OPERATOR / "decide").glob("*.py"))
    return [path for path in modules if (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("Policy: ")]


def _builders() -> list[Path]:
    return [path for path in sorted((OPERATOR / "desired").glob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("module", [*_policies(), *_builders()], ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_policy_and_a_builder_have_a_test_file_of_their_name(module):
    tests = ROOT / "tests" / "unit" / "fedoperator" / module.parent.name / f"test_{module.name}"
    assert tests.exists(), f"{module.name} has no {tests.relative_to(ROOT)}"
