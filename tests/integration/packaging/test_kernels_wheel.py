"""A wheel has the compiled loops where a compiler is, for its platform alone; without one it is the pure wheel."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools import kernels_hook

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = "fedcore/tensors/_kernels.so"


def wheel(folder: Path, **environment: str) -> Path:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_with_the_library_names_its_platform_and_serves_every_python(tmp_path):
    found = wheel(tmp_path)
    assert found.name.endswith(f"-py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}.whl")
    with ZipFile(found) as archive:
        assert archive.read(LIBRARY) == (ROOT / "operator" / LIBRARY).read_bytes()
        archive.extractall(tmp_path / "site")
    code = "from fedcore.tensors import kernels; print(kernels.AVAILABLE, kernels.__file__)"
    words = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(tmp_path / "site" / "fedcore" / "tensors" / "kernels.py")]


@pytest.mark.parametrize("compiler", ["none-there", "false"])
def test_without_a_compiler_that_works_the_wheel_is_pure_and_what_is_there_stays(tmp_path, compiler):
    before = (ROOT / "operator" / LIBRARY).read_bytes()
    found = wheel(tmp_path, CC=compiler)
    assert found.name.endswith("-py3-none-any.whl")
    with ZipFile(found) as archive:
        assert LIBRARY not in archive.namelist()
        assert "fedcore/tensors/kernels.py" in archive.namelist()
    assert (ROOT / "operator" / LIBRARY).read_bytes() == before


def test_the_loops_compile_without_a_warning(tmp_path):
    words = ["cc", *kernels_hook.FLAGS, "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    source = ROOT / kernels_hook.FOLDER / "kernels.c"
    done = subprocess.run(
        [*words, "-o", str(tmp_path / "out.so"), str(source)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
