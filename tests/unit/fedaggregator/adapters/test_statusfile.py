"""The status in a file."""

import json

from fedaggregator.adapters.statusfile import StatusFile


def test_status_file_is_replaced_whole(tmp_path):
    sink = StatusFile(tmp_path / "x" / "status.json")
    sink.publish({"a": 1})
    sink.publish({"a": 2})
    assert json.loads((tmp_path / "x" / "status.json").read_text()) == {"a": 2}
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["status.json"]
