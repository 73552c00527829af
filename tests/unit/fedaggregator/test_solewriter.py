"""Which fence a process has by where its store and its status are, and the one that is a locked file."""

import threading

import pytest

from fedaggregator import solewriter
from fedaggregator.adapters.filelock import FileLock
from fedaggregator.errors import FatalError
from fedaggregator.settings import Settings
from fedapi import names
from fedapi.outcome import Exit
from fedstore.errors import FencedOffError, UnknownStoreError
from tests.waiting import until


def settings(store, folder):
    values = {"job": "j", "namespace": "n", "job_uid": "u", "public_url": "https://x", "store": store}
    return Settings(**values, status=f"file:{folder / 'status.json'}")


@pytest.mark.parametrize(
    ("store", "fenced"), [(names.PATH_STORE, False), ("s3://b", False), ("gs://b", False), ("s3://b?fence=lease", True)]
)
def test_only_a_store_that_asks_for_it_has_a_fence(tmp_path, store, fenced):
    assert (solewriter.chosen(settings(store, tmp_path)) is not None) is fenced


def test_what_is_no_store_is_told(tmp_path):
    with pytest.raises(UnknownStoreError, match="fence=wood is not known"):
        solewriter.chosen(settings("s3://b?fence=wood", tmp_path))


def test_a_locked_file_is_one_process_s_until_it_gives_it_up(tmp_path):
    first, second = (solewriter.chosen(settings("s3://b?fence=lease", tmp_path / "new")) for _ in range(2))
    first.take(used=lambda: True)
    first.check()
    thread = threading.Thread(target=second.take, kwargs={"used": lambda: True}, daemon=True)
    thread.start()
    until(lambda: solewriter.LOCK_FILE in second.waits_for)
    with pytest.raises(FencedOffError, match="not locked by this process"):
        second.check()
    first.release()
    thread.join()
    second.check()
    assert second.waits_for == ""
    with pytest.raises(FencedOffError):
        first.check()
    waiting = FileLock(tmp_path / "new" / solewriter.LOCK_FILE)
    thread = threading.Thread(target=waiting.take, kwargs={"used": lambda: True}, daemon=True)
    thread.start()
    until(lambda: waiting.waits_for)
    waiting.release()
    thread.join()
    second.release()


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="keeps other writers off") as told:
        FileLock(tmp_path / "file" / "lock").take(used=lambda: True)
    assert told.value.code == Exit.BAD_SETTINGS
