"""A large object goes through a process in memory that does not depend on its size: Google's and Azure's adapters, in a process of their own."""

import subprocess
import sys

import pytest

MIB = 200
MOST_MIB = 64

PROGRAM = """
import hashlib, os, sys
from pathlib import Path
from fedstore.opening import open_store

def peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10

where, credentials, mib = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
store = open_store(where, credentials)
store.put_once("small", b"1")
store.get("small")
before, block, found = peak_mib(), os.urandom(1 << 20), hashlib.sha256()
for _ in range(mib):
    found.update(block)
with store.writer("large", size=mib << 20, sha256=found.hexdigest()) as writer:
    for _ in range(mib):
        writer.write(block)
    ref = writer.finish()
assert store.arrived(ref) == ""
print(peak_mib() - before)
"""


@pytest.mark.parametrize("name", ["fake_gcs", "azurite"])
def test_memory_does_not_grow_with_the_object(request, tmp_path, name):
    server = request.getfixturevalue(name)
    credentials = server.credentials(tmp_path / "credentials")
    command = [sys.executable, "-c", PROGRAM, server.place(), str(credentials), str(MIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= MOST_MIB
