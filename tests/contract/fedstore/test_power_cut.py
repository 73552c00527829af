"""A power cut at any moment: a folder is what it was when it was last synced, a file is what was last written to it.

Names that were deleted since are back. Whatever a name shows then was once put under it.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from fedstore import disk
from fedstore.disk import DiskStore

KEYS = [f"{folder}/{name}" for folder in ("a", "b", "c/d") for name in ("1", "2")]
PUT = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True).map(lambda keys: ("put", keys))
DELETE = st.sampled_from(KEYS).map(lambda key: ("delete", [key]))


class Synced:
    """Every folder as it was when it was last synced, its files held open."""

    def __init__(self, root: Path, files: ExitStack) -> None:
        self._root, self._files, self._sync = root, files, disk._sync_folder
        self._folders: dict[Path, dict[str, int]] = {}

    def sync(self, folder: Path) -> None:
        self._sync(folder)
        self._folders[folder] = {path.name: self._opened(path) for path in folder.iterdir() if path.is_file()}

    def _opened(self, path: Path) -> int:
        fd = os.open(path, os.O_RDONLY)
        self._files.callback(os.close, fd)
        return fd

    def after_a_power_cut(self) -> dict[str, bytes]:
        return {
            str((folder / name).relative_to(self._root)): os.pread(fd, 100, 0)
            for folder, names in self._folders.items()
            for name, fd in names.items()
        }


@settings(max_examples=200)
@given(st.lists(st.one_of(PUT, PUT, DELETE), max_size=30))
def test_a_name_that_is_back_shows_what_was_put_under_it(changes):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as files:
        root = Path(folder).resolve()
        store, synced = DiskStore(root), Synced(root, files)
        files.enter_context(mock.patch.object(disk, "_sync_folder", synced.sync))
        put: dict[str, set[bytes]] = {key: set() for key in KEYS}
        for number, (change, keys) in enumerate(changes):
            if change == "delete":
                store.delete(keys[0])
                continue
            objects = {key: f"{number} {key}".encode() for key in keys if key not in set(store.keys(""))}
            store.put_together(objects)
            for key, data in objects.items():
                put[key].add(data)
            cut = synced.after_a_power_cut()
            assert objects.items() <= cut.items()
            assert all(data in put[key] for key, data in cut.items())
