"""The repository's shape: source roots are no packages, what is on disk is in the wheel and under import contracts."""

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCE_ROOTS = ("operator", "trainer")


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).exists()]


def packages_on_disk() -> set[str]:
    return {
        f"{root}/{path.name}"
        for root in SOURCE_ROOTS
        for path in (ROOT / root).iterdir()
        if (path / "__init__.py").exists()
    }


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_no_package(root):
    assert not (ROOT / root / "__init__.py").exists()


def test_packages_on_disk_are_in_the_wheel_and_under_contracts():
    assert packages_on_disk() == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {name.split("/")[1] for name in packages_on_disk()} == set(PROJECT["tool"]["importlinter"]["root_packages"])


def test_every_source_folder_is_a_package():
    folders = {path.parent for root in SOURCE_ROOTS for path in tracked(f"{root}/**/*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_modules_stay_readable_and_say_what_they_hold():
    for path in tracked("operator/**/*.py", "trainer/**/*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, f"{path.name} is past 400 lines: split it"
        assert text.startswith('"""'), f"{path} opens without saying what lives there"


def test_modules_are_not_named_like_the_standard_library():
    forbidden = {
        "types",
        "queue",
        "secrets",
        "signal",
        "random",
        "logging",
        "utils",
        "helpers",
        "common",
        "manager",
        "base",
    }
    assert [str(p) for p in tracked("operator/**/*.py", "trainer/**/*.py") if p.stem in forbidden] == []


def test_no_lock_file_or_constraint_names_an_address():
    assert "://" not in (ROOT / "constraints.txt").read_text()
