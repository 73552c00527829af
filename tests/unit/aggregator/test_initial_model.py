"""What the init step may leave in place of a model, since a task's code runs there: refused by name, waited for never."""

import os

import pytest

from fedaggregator.engine.modelfile import import_initial
from fedaggregator.errors import FatalError
from fedapi.outcome import Exit
from fedapi.wire.store import Layout
from fedstore.memory import MemoryStore


def pipe(path):
    os.mkfifo(path)


def link(path):
    path.symlink_to("/etc/hostname")


def folder(path):
    path.mkdir()


def text(path):
    path.write_text("not a model")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is not a plain file"),
        (folder, "is not a plain file"),
        (link, "cannot be read"),
        (text, "is not a safetensors file"),
    ],
)
def test_what_is_no_model_is_refused_at_once(tmp_path, make, words):
    path = tmp_path / "model.safetensors"
    make(path)
    with pytest.raises(FatalError, match=words) as raised:
        import_initial(MemoryStore(), Layout("space", "job", "uid"), path)
    assert raised.value.code == Exit.BAD_SETTINGS
