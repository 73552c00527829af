"""What only a disk can do wrong: be full, be read-only, hold links and leftovers."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fedstore import disk, writeback
from fedstore.disk import DiskStore
from fedstore.errors import MissingError, StoreFailedError, StoreFullError
from fedstore.spare import SMALL_BYTES

FULL = """
import resource, sys
from pathlib import Path
from fedstore.disk import DiskStore
from fedstore.errors import StoreFullError
store = DiskStore(Path(sys.argv[1]))
store.replace_head("c/HEAD", b"old", None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for attempt in range(2):
    try:
        with store.writer("a/big") as writer:
            for _ in range(200):
                writer.write(b"x" * 1000)
            writer.finish()
    except StoreFullError as error:
        print("full:", error)
try:
    store.replace_head("c/HEAD", b"y" * 200_000, store.head("c/HEAD").tag)
except StoreFullError as error:
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


def test_a_large_object_goes_to_the_disk_while_it_comes(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(writeback, "begin", lambda _fd, offset, length: begun.append((offset, offset + length)))
    with DiskStore(tmp_path).writer("a/big") as writer:
        for _ in range(70):
            writer.write(bytes(300_000))
        assert begun
        assert [start for start, _ in begun] == [0, *(end for _, end in begun[:-1])]
        assert 70 * 300_000 - begun[-1][1] < begun[0][1]
        writer.finish()


def test_leftovers_of_killed_writers_are_cleaned(tmp_path):
    store = DiskStore(tmp_path)
    (tmp_path / ".tmp" / "left").write_bytes(b"half")
    assert list(store.keys("")) == []
    store.clean()
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_a_writer_that_lives_keeps_its_file_when_another_process_cleans(tmp_path):
    store, other = DiskStore(tmp_path), DiskStore(tmp_path)
    with store.writer("a/new") as writer:
        writer.write(b"half")
        other.clean()
        writer.write(b"whole")
        writer.finish()
    assert store.get("a/new") == b"halfwhole"
    store.delete("a/new")
    store.put_once("a/between", b"x")
    with store.writer("a/again", size=3) as writer:
        other.clean()
        writer.write(b"new")
        writer.finish()
    assert store.get("a/again") == b"new"


def test_what_is_deleted_before_its_writer_is_closed_makes_room_at_once(tmp_path):
    store = DiskStore(tmp_path)
    with store.writer("a", size=3) as writer:
        writer.write(b"old")
        writer.finish()
        store.delete("a")
        store.put_once("between", b"x")
        assert store.get(store.put_once("b", b"new").key) == b"new"


def test_links_do_not_lead_out(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    store = DiskStore(tmp_path / "store")
    (tmp_path / "store" / "models").symlink_to(outside)
    (tmp_path / "store" / "link").symlink_to(outside / "secret")
    with pytest.raises(StoreFailedError):
        store.get("models/secret")
    with pytest.raises(StoreFailedError):
        store.put_once("models/new", b"x")
    with pytest.raises(MissingError), store.reader("link"):
        pass
    store.put_once("link", b"x")
    assert (outside / "secret").read_text() == "s"


def test_other_errors_are_failures_not_fullness(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("file", b"x")
    with pytest.raises(StoreFailedError) as error:
        store.put_once("file/below", b"x")
    assert not isinstance(error.value, StoreFullError)


def test_what_is_no_object_is_not_listed(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("models/a", b"x")
    for name in (".nfs0001", "a b", "\u00e9", "lost+found"):
        (tmp_path / "models" / name).write_bytes(b"stray")
    (tmp_path / "models" / "link").symlink_to(tmp_path / "models" / "a")
    os.mkfifo(tmp_path / "models" / "pipe")
    assert list(store.keys("models/")) == ["models/a"]
    (tmp_path / "models" / "folder").mkdir()
    assert list(store.keys("nowhere/")) == []
    for name in ("link", "pipe", "folder"):
        assert store.size(f"models/{name}") is None
        with pytest.raises(MissingError):
            store.get(f"models/{name}")


def test_what_is_no_file_makes_room_for_an_object(tmp_path):
    store = DiskStore(tmp_path)
    target = store.put_once("models/target", b"old")
    (tmp_path / "models" / "link").symlink_to("target")
    os.mkfifo(tmp_path / "models" / "pipe")
    for name in ("link", "pipe"):
        assert store.put_once(f"models/{name}", b"new").size == 3
        assert store.get(f"models/{name}") == b"new"
    assert store.get(target.key) == b"old"
    (tmp_path / "models" / "folder").mkdir()
    with pytest.raises(StoreFailedError, match="models/folder"):
        store.put_once("models/folder", b"new")


LISTS = """
import os, sys
from pathlib import Path
from fedstore.disk import DiskStore
from fedstore.errors import StoreFailedError
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    print(list(DiskStore(Path(sys.argv[1])).keys(sys.argv[2])))
except StoreFailedError as error:
    print("failed:", error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become the other user")
@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("models/", "failed: models/closed: Permission denied (EACCES)"),
        ("models/open/", "['models/open/a']"),
        ("", "failed: models/closed: Permission denied (EACCES)"),
    ],
)
def test_a_folder_that_cannot_be_listed_is_an_error_and_never_empty(prefix, said):
    """By another user, as the aggregator is; what only root may list at a volume's root is no object."""
    with tempfile.TemporaryDirectory() as root:
        for path in ("models/open", "models/closed", "lost+found", ".tmp", ".locks"):
            (Path(root) / path).mkdir(parents=True)
        (Path(root) / "models/open/a").write_bytes(b"x")
        Path(root).chmod(0o755)
        for path in ("models/closed", "lost+found"):
            (Path(root) / path).chmod(0o700)
        command = [sys.executable, "-c", LISTS, root, prefix]
        env = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert done.stdout.strip() == said, done.stderr


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    store = DiskStore(tmp_path)
    (tmp_path / "models").write_bytes(b"x")
    with pytest.raises(StoreFailedError):
        list(store.keys("models/"))


def test_the_file_of_a_deleted_small_object_is_written_over_for_the_next_one(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("a/long", b"a long text")
    file = (tmp_path / "a" / "long").stat().st_ino
    store.delete("a/long")
    assert list(store.keys("")) == []
    assert [path.stat().st_ino for path in (tmp_path / ".spare").iterdir()] == [file]
    with pytest.raises(MissingError):
        store.get("a/long")
    store.put_once("b/before", b"1")
    store.put_once("a/next", b"2")
    store.put_once("b/short", b"short")
    assert (store.get("b/short"), (tmp_path / "b" / "short").stat().st_ino) == (b"short", file)
    assert [*(tmp_path / ".tmp").iterdir(), *(tmp_path / ".spare").iterdir()] == []
    assert [store.get(key) for key in ("b/before", "a/next")] == [b"1", b"2"]


def test_a_file_whose_old_name_may_come_back_with_a_power_cut_is_not_written_over(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("a/deleted", b"1")
    with (tmp_path / "a" / "deleted").open("rb", buffering=0) as file:
        store.delete("a/deleted")
        for number in range(3):
            store.put_once(f"b/{number}", b"2")
        assert file.read() == b"1"


def test_a_sync_that_fails_leaves_it_for_the_next_one(tmp_path, monkeypatch):
    store = DiskStore(tmp_path)
    store.put_once("a/deleted", b"1")
    file = (tmp_path / "a" / "deleted").stat().st_ino
    store.delete("a/deleted")
    with monkeypatch.context() as patched:
        patched.setattr(disk, "_sync_folder", _failing)
        with pytest.raises(StoreFailedError):
            store.put_once("a/1", b"2")
    store.put_once("b/1", b"2")
    store.put_once("a/2", b"2")
    store.put_once("b/2", b"2")
    assert (tmp_path / "b" / "2").stat().st_ino == file


def _failing(folder):
    raise OSError(errno.EIO, "Input/output error", folder)


def test_an_object_that_cannot_be_kept_is_deleted(tmp_path, monkeypatch):
    """A name in the folder of those that are kept takes room, which a full volume has not."""
    store = DiskStore(tmp_path)
    store.put_once("a/deleted", b"1")
    monkeypatch.setattr(Path, "rename", lambda path, _: _full(path))
    store.delete("a/deleted")
    assert list(store.keys("")) == []


def _full(path):
    raise OSError(errno.ENOSPC, "No space left on device", path)


def test_who_reads_a_deleted_object_goes_on_reading_it(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("a", b"old")
    with store.reader("a") as reader:
        store.delete("a")
        store.put_once("between", b"x")
        store.put_once("b", b"new")
        data = bytearray(3)
        reader.read_into(memoryview(data), 0)
    assert data == b"old"


def test_a_file_with_another_name_of_a_persons_is_not_written_over(tmp_path):
    store = DiskStore(tmp_path / "store")
    store.put_once("a", b"old")
    os.link(tmp_path / "store" / "a", tmp_path / "copy")
    store.delete("a")
    store.put_once("between", b"x")
    store.put_once("b", b"new")
    assert (tmp_path / "copy").read_bytes() == b"old"


def test_large_objects_and_what_is_no_file_are_not_kept(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("large", b"x" * (SMALL_BYTES + 1))
    (tmp_path / "link").symlink_to(tmp_path / "large")
    for key in ("link", "large"):
        store.delete(key)
    assert not (tmp_path / ".spare").exists()


def test_a_kept_file_that_somebody_has_removed_is_made_anew(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("a", b"old")
    store.delete("a")
    store.put_once("between", b"x")
    DiskStore(tmp_path).clean()
    assert store.get(store.put_once("b", b"new").key) == b"new"


def test_an_object_that_was_begun_in_a_kept_file_and_not_ended_leaves_nothing(tmp_path):
    store = DiskStore(tmp_path)
    store.put_once("a", b"old")
    store.delete("a")
    store.put_once("between", b"x")
    with store.writer("b", size=3) as writer:
        writer.write(b"n")
    assert list(store.keys("")) == ["between"]
    assert [*(tmp_path / ".tmp").iterdir(), *(tmp_path / ".spare").iterdir()] == []
