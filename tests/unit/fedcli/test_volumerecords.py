"""What a pod prints of a store volume, for `fedloom model list` and `pull --round`."""

import json
import subprocess
import sys

import pytest

from fedapi import names
from fedapi.wire.layout import Layout
from fedcli import volumerecords
from fedcli.errors import CommandError
from fedcli.volumerecords import VolumeRecords, printing
from fedstore.errors import MissingError

LAYOUT = Layout("lab", "hearts-b", "11111111-2222-3333-4444-555555555555")
COMMIT = f"{LAYOUT.attempt(1, 1, 1)}/commit.json"


def printed(folder, *named):
    words = [word.replace(names.PATH_STORE, str(folder)) for word in printing(*(named or ["commit.json"]))[1:]]
    return subprocess.run([sys.executable, *words], capture_output=True, check=True).stdout


@pytest.fixture
def volume(tmp_path):
    for key, data in {
        LAYOUT.head: b"{}",
        COMMIT: b"commit" * 1000,
        f"{LAYOUT.models()}/m.safetensors": b"model",
    }.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    return tmp_path


def test_what_an_aggregator_takes_away_meanwhile_is_left_out(volume):
    (volume / "upload.partial").symlink_to(volume / "gone")  # listed, and not there when it is looked at
    keys = {json.loads(line)["key"] for line in printed(volume).splitlines()}
    assert keys == {LAYOUT.head, COMMIT, f"{LAYOUT.models()}/m.safetensors"}


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("in_memory", [1, 1 << 20], ids=["disk", "memory"])
def test_it_is_read_as_a_store_however_it_comes(volume, monkeypatch, piece, in_memory):
    monkeypatch.setattr(volumerecords, "IN_MEMORY_BYTES", in_memory)
    output = printed(volume)
    pieces = (output[at : at + piece] for at in range(0, len(output), piece))
    with VolumeRecords.of(pieces) as records:
        assert records.layout == LAYOUT
        assert records.get(COMMIT) == b"commit" * 1000
        assert records.head(LAYOUT.head).data == b"{}"
        assert records.head(f"{LAYOUT.head}x") is None
        assert list(records.keys("models/")) == [f"{LAYOUT.models()}/m.safetensors"]
        assert records.size(f"{LAYOUT.models()}/m.safetensors") == 5
        with pytest.raises(MissingError):
            records.get(f"{LAYOUT.models()}/m.safetensors")


@pytest.mark.parametrize(
    "key", ["control/lab/hearts/HEAD.json", "control/lab/hearts-uid/HEAD.json", "control/HEAD.json"]
)
def test_a_file_that_is_no_head_of_ours_makes_no_job(volume, key):
    (volume / key).parent.mkdir(parents=True, exist_ok=True)
    (volume / key).write_bytes(b"{}")
    with VolumeRecords.of([printed(volume)]) as records:
        assert records.layout == LAYOUT
    (volume / LAYOUT.head).unlink()
    with VolumeRecords.of([printed(volume)]) as records, pytest.raises(CommandError, match="stores of 0 jobs"):
        print(records.layout)
