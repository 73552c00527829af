"""A site with a key signs, and says that it can; one without does neither; a key that cannot be used ends the process by name."""

import pytest

from fedapi import names
from fedapi.wire import statement
from fedapi.wire.protocol import DP_SGD, ENCRYPTED_SUMS, FEATURES, KEY, SIGNATURES
from fedapi.wire.signing import SigningKey, verifies
from fedapi.wire.site import FailureReport
from fedtrainer.agent import signing
from fedtrainer.agent.signing import Signer, said_features
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

REPORT = FailureReport(job_uid="u", round=1, attempt=1, client="a", reason="TaskFailed")


def settings(folder=None) -> TrainerSettings:
    told = {"entrypoint": "a:b", "job": "j", "job_uid": "u", "aggregator_url": "https://hub", "client": "a"}
    return TrainerSettings.model_validate(told | ({"signing_key_dir": folder} if folder else {}))


def test_a_site_without_a_key_signs_nothing():
    signer = Signer(settings())
    assert signer.signed(REPORT) is REPORT
    assert signer.features == (*FEATURES, DP_SGD, ENCRYPTED_SUMS) == said_features(None)


@pytest.mark.parametrize("package", ["opacus", "tenseal"])
def test_a_site_can_do_what_its_image_has_the_package_for(monkeypatch, package):
    monkeypatch.setattr(signing, "find_spec", lambda name: None if name == package else object())
    can = {"opacus": ENCRYPTED_SUMS, "tenseal": DP_SGD}[package]
    assert said_features(None) == (*FEATURES, can)


def test_a_site_signs_by_the_key_that_is_there_now(tmp_path):
    file = tmp_path / names.FILE_SIGNING_KEY
    one, two = SigningKey.generated(), SigningKey.generated()
    file.write_bytes(one.pem())
    signer = Signer(settings(tmp_path))
    for key in (one, two):
        file.write_bytes(key.pem())
        assert signer.features == (*FEATURES, DP_SGD, ENCRYPTED_SUMS, SIGNATURES, f"{KEY}{key.id}")
        made = signer.signed(REPORT)
        assert made.key_id == key.id
        assert verifies(key.raw, made.signature, statement.of_report(made))


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "is not readable"), (b"none", "no unencrypted private key in PEM")]
)
def test_a_key_that_cannot_be_used_is_told_before_anything_is_trained(tmp_path, content, fault):
    if content is not None:
        (tmp_path / names.FILE_SIGNING_KEY).write_bytes(content)
    with pytest.raises(BadSettingsError, match=rf"signing key: .*signing\.key.*{fault}"):
        Signer(settings(tmp_path))
