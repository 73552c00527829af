"""Credentials are read again when the mounted Secret was exchanged, and not for every request."""

import pytest

from fedstore import credentials
from fedstore.credentials import OfCredentials
from fedstore.errors import StoreDeniedError


def test_what_is_made_of_them_is_made_again_when_they_change(tmp_path):
    (tmp_path / "KEY").write_text("old\n")
    (tmp_path / "..data").mkdir()
    now, made = [0.0], []

    def make(files):
        made.append(dict(files))
        return files["KEY"]

    held = OfCredentials(tmp_path, make, clock=lambda: now[0])
    assert held.now() == "old"
    (tmp_path / "KEY").write_text("new\n")
    assert held.now() == "old", "looked at a moment ago"
    now[0] = 10
    assert held.now() == "new"
    now[0] = 30
    assert held.now() == "new"
    assert made == [{"KEY": "old"}, {"KEY": "new"}]


def test_without_a_folder_there_are_none(tmp_path):
    assert credentials.read(None) == {}
    with pytest.raises(StoreDeniedError, match="cannot be read"):
        credentials.read(tmp_path / "none")
