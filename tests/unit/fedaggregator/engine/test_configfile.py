"""The mounted configuration, read anew."""

import re

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.errors import FatalError, TooOldError
from fedapi.outcome import Exit
from tests.unit.fedcore.rounds import test_round_rules as rules

OTHERS = [
    ({"name": "FedMagic"}, "strategy 'FedMagic' is none of this version's (Bulyan, DiLoCo, F"),
    ({"name": "FedAvgM", "parameters": {"momentum": 0.9}}, "FedAvgM is given momentum, this version's takes learning_rate, mom"),
    ({"name": "FedAvg", "parameters": {"clip": 1.0}}, "FedAvg is given clip, this version's takes no numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "words"), OTHERS)
def test_a_strategy_of_another_version_ends_the_process_at_its_start_and_is_not_taken_up_later(
    tmp_path, strategy, words
):
    path = tmp_path / "job.json"
    path.write_text(rules.config(strategy=strategy).model_dump_json())
    with pytest.raises(TooOldError, match=re.escape(words)) as raised:
        ConfigFile(path, "uid").first()
    assert raised.value.code == Exit.TOO_OLD
    path.write_text(rules.config().model_dump_json())
    file = ConfigFile(path, "uid")
    known = file.first()
    (tmp_path / "new").write_text(rules.config(strategy=strategy).model_dump_json())
    (tmp_path / "new").replace(path)
    assert (file.changed(), file.newest) == (None, known)


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


def test_a_kem_that_the_library_here_cannot_do_is_refused_by_name(tmp_path, monkeypatch):
    """An OpenSSL without ML-KEM, as distributions have it: there is none beside ours to test with."""

    class Lacking:
        @staticmethod
        def from_seed_bytes(_):
            raise UnsupportedAlgorithm("ML-KEM is not supported by this backend.")

    monkeypatch.setattr("fedapi.wire.encryption.MLKEM768PrivateKey", Lacking)
    path = tmp_path / "job.json"
    path.write_text(rules.config(encryption="MLKEM768X25519").model_dump_json())
    with pytest.raises(FatalError, match="MLKEM768X25519: the OpenSSL here has no ML-KEM: use X25519") as raised:
        ConfigFile(path, "uid").first()
    assert raised.value.code == Exit.BAD_SETTINGS
    path.write_text(rules.config(encryption="X25519").model_dump_json())
    assert ConfigFile(path, "uid").first().encryption == "X25519"
