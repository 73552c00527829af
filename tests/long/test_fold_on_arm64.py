"""The same updates give the same model on x86-64 and on arm64, by every strategy and in every type of tensor."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.long import arm64

DIGESTS = Path(__file__).parent / "fold_digests.py"

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_folds_have_the_same_digests_on_arm64_and_with_and_without_the_compiled_loops(tmp_path):
    done = subprocess.run([sys.executable, str(DIGESTS)], capture_output=True, text=True, check=True)
    here, there = json.loads(done.stdout), json.loads(arm64.run(DIGESTS, tmp_path))
    assert there["machine"] == "aarch64"
    assert platform.machine() != "aarch64", "this machine is the emulated one: compare it with another"
    assert here["numpy"] == there["numpy"]
    assert there["digests"] == here["digests"]
    compiled = {name: digest for name, digest in here["digests"].items() if name.endswith("compiled")}
    assert len(compiled) >= 17 * 7
    assert "read" in here["digests"], "with the loops by hand on this machine, and those of the compiler on the other"
    assert all(here["digests"][name.replace("compiled", "numpy")] == digest for name, digest in compiled.items())
