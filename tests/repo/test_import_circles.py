"""No module imports, directly or through others, itself. Imports inside functions count; those for type checkers do not."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _modules(top: Path) -> dict[str, Path]:
    found = {".".join(path.relative_to(top).with_suffix("").parts): path for path in top.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def _runtime(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one that a process may run."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from _runtime(child)


def _imported(path: Path, known: set[str]) -> Iterator[str]:
    for node in _runtime(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else node.module for name in names)


def circle(top: Path) -> list[str]:
    """Modules of a source root that import each other in a circle; empty: none do."""
    modules = _modules(top)
    graph = {name: set(_imported(path, modules.keys())) & (modules.keys() - {name}) for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("top", ["operator", "trainer"])
def test_no_modules_import_each_other_in_a_circle(top):
    assert circle(ROOT / top) == []


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ("import one", True),
        ("def f():\n    from one import x", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one", False),
        ("import three", False),
    ],
)
def test_the_check_finds_circles(tmp_path, late, expected):
    (tmp_path / "one.py").write_text("from two import x")
    (tmp_path / "two.py").write_text(late)
    assert bool(circle(tmp_path)) is expected
