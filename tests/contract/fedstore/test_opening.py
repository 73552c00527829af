"""Every form in which a store can be named opens it, and the same name is the same store."""

import sys

import pytest

from fedaggregator.errors import store_failed
from fedapi.outcome import Exit
from fedstore.errors import UnknownStoreError
from fedstore.opening import open_store


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "memory:{}"])
def test_a_store_is_opened_again_by_its_name(tmp_path, form):
    where = form.format(tmp_path / "store")
    open_store(where).put_once("models/a", b"content")
    again = open_store(where)
    again.clean()
    assert again.get("models/a") == b"content"
    assert (tmp_path / "store" / "models" / "a").exists() is not form.startswith("memory")


def test_a_folder_may_have_a_colon(tmp_path):
    open_store(tmp_path / "a:b").put_once("models/a", b"content")
    assert (tmp_path / "a:b" / "models" / "a").exists()


@pytest.mark.parametrize("where", ["ftp://bucket/prefix", "memory:", "file:", ":x"])
def test_what_names_no_store_is_refused_with_the_way_out(where):
    with pytest.raises(UnknownStoreError, match="give a folder, file:FOLDER, memory:NAME") as told:
        open_store(where)
    assert where in str(told.value)
    assert store_failed(told.value).code is Exit.BAD_SETTINGS


@pytest.mark.parametrize(
    ("where", "module", "library", "extra"),
    [("gs://bucket/p", "gcs", "google.auth", "gcs"), ("az://account/container/p", "azure", "azure.core", "azure")],
)
def test_an_extra_that_is_missing_is_named(monkeypatch, where, module, library, extra):
    monkeypatch.delitem(sys.modules, f"fedstore.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnknownStoreError, match=rf"needs {library}: pip install fedloom\[{extra}\]"):
        open_store(where)
