"""What only a disk can do wrong: be full, be read-only, hold links and leftovers."""

import os
import subprocess
import sys

import pytest

from fedstore.disk import DiskStore
from fedstore.errors import StoreFailed, StoreFull

FULL = """
import resource, sys
from pathlib import Path
from fedstore.disk import DiskStore
from fedstore.errors import StoreFull
store = DiskStore(Path(sys.argv[1]))
store.replace_head("c/HEAD", b"old", None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for attempt in range(2):
    try:
        with store.writer("a/big") as writer:
            for _ in range(200):
                writer.write(b"x" * 1000)
            writer.finish()
    except StoreFull as error:
        print("full:", error)
try:
    store.replace_head("c/HEAD", b"y" * 200_000, store.head("c/HEAD").tag)
except StoreFull as error:
    print("full:", error)
print(store.head("c/HEAD").data, store.put_once("a/small", b"fits").size, sorted(store.keys("")))
"""


def test_a_full_disk_is_typed_and_leaves_nothing(tmp_path):
    """RLIMIT_FSIZE is the disk that is full for everybody, root or not."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("full:") == 3
    assert done.stdout.endswith("b'old' 4 ['a/small', 'c/HEAD']\n")
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_leftovers_of_killed_writers_are_cleaned(tmp_path):
    store = DiskStore(tmp_path)
    (tmp_path / ".tmp" / "left").write_bytes(b"half")
    assert list(store.keys("")) == []
    store.clean()
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_links_do_not_lead_out(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    store = DiskStore(tmp_path / "store")
    (tmp_path / "store" / "models").symlink_to(outside)
    (tmp_path / "store" / "link").symlink_to(outside / "secret")
    with pytest.raises(StoreFailed):
        store.get("models/secret")
    with pytest.raises(StoreFailed):
        store.put_once("models/new", b"x")
    with pytest.raises(StoreFailed), store.reader("link"):
        pass


def test_other_errors_are_failures_not_fullness(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("file", b"x")
    with pytest.raises(StoreFailed) as error:
        store.put_once("file/below", b"x")
    assert not isinstance(error.value, StoreFull)
