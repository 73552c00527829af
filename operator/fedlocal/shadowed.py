"""Modules of the user's folder that can never be imported, because Python has one of that name that comes first.

Called by manifests.py, which notes them, and by preflight.py, which refuses a task among them.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True)
class Shadowed:
    """A module of the user's, and what comes before it."""

    name: str
    path: Path
    by: str

    def __str__(self) -> str:
        """The note about a file that may or may not be meant to be imported."""
        return f"{self.path}: a task cannot import it, {self.by} comes before it: rename it if a task needs it"


def shadowed(folder: Path) -> Iterator[Shadowed]:
    """All of a folder."""
    search = [entry for entry in sys.path if entry and Path(entry).resolve() != folder.resolve()]
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # a manifest can be read without its folder
        return
    for path in paths:
        is_module = path.suffix == ".py" and path.is_file()
        if (is_module or (path / "__init__.py").is_file()) and (by := _first(path.stem, search)):
            yield Shadowed(path.stem, path, by)


def _first(name: str, search: list[str]) -> str | None:
    """What an import of that name finds before the user's folder."""
    if name in sys.stdlib_module_names:
        return f"Python's own module {name}"
    spec = PathFinder.find_spec(name, search)
    return None if spec is None or spec.origin is None else f"the installed module {spec.origin}"
