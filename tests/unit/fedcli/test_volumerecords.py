"""What a pod prints of a store volume, for `fedloom model list` and `pull --round`."""

import json
import subprocess
import sys

from fedcli.volumerecords import PRINT, VolumeRecords


def test_what_an_aggregator_takes_away_meanwhile_is_left_out(tmp_path):
    job = tmp_path / "control" / "lab" / "hearts-uid"
    job.mkdir(parents=True)
    (job / "HEAD.json").write_text("{}")
    (tmp_path / "upload.partial").symlink_to(tmp_path / "gone")  # listed, and not there when it is looked at
    done = subprocess.run([sys.executable, "-I", "-c", PRINT, str(tmp_path)], capture_output=True, check=True)
    assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == ["control/lab/hearts-uid/HEAD.json"]
    assert VolumeRecords.of([done.stdout]).contents == {"control/lab/hearts-uid/HEAD.json": b"{}"}
