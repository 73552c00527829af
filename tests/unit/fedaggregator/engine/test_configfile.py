"""The mounted configuration, read anew."""

import pytest

from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.errors import FatalError
from tests.unit.fedcore.rounds import test_round_rules as rules


def test_configuration_file_keeps_the_last_good_version(tmp_path):
    path = tmp_path / "job.json"
    file = ConfigFile(path, "uid")
    with pytest.raises(FatalError):
        file.first()
    path.write_text(rules.config().model_dump_json())
    assert file.first().rounds == 2
    assert file.changed() is None
    for text, rounds_ in [
        ("{", None),
        (rules.config(rounds=9).model_dump_json(), 9),
        (rules.config(uid="v").model_dump_json(), None),
    ]:
        new = tmp_path / "new"
        new.write_text(text)
        new.replace(path)
        changed = file.changed()
        assert (changed.rounds if changed else None) == rounds_
