"""A model of a store as a file: whole, checked, or not at all."""

import hashlib

import pytest

from fedapi.wire.message import ObjectRef
from fedstore import fetching
from fedstore.blocks import BLOCK_BYTES
from fedstore.disk import DiskStore
from fedstore.errors import ContentMismatchError, MissingError


@pytest.fixture
def store(tmp_path):
    return DiskStore(tmp_path / "store")


def test_it_comes_in_blocks(store, tmp_path):
    data = bytes(range(251)) * (2 * BLOCK_BYTES // 250)
    sha256 = hashlib.sha256(data).hexdigest()
    store.put_once(f"models/{sha256}", data)
    fetching.fetch(store, ObjectRef(key=f"models/{sha256}", sha256=sha256, size=len(data)), tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == data


def test_what_is_not_what_was_committed_leaves_the_target_as_it_was(store, tmp_path):
    target = tmp_path / "model"
    target.write_bytes(b"before")
    store.put_once("models/a", b"other")
    with pytest.raises(ContentMismatchError, match=r"models/a: SHA-256 is .* was committed"):
        fetching.fetch(store, ObjectRef(key="models/a", sha256="0" * 64, size=5), target)
    with pytest.raises(MissingError):
        fetching.fetch(store, ObjectRef(key="models/b", sha256="0" * 64, size=5), target)
    assert target.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"store", "model"}
