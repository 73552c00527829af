"""The operator's settings."""

import pytest

from fedoperator.errors import SettingsInvalidError
from fedoperator.settings import PREFIX, OperatorSettings


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}WATCH_NAMESPACES", "a, b,,c")
    monkeypatch.setenv(f"{PREFIX}AGGREGATOR_IMAGE", "registry.example/agg:1")
    monkeypatch.setenv(f"{PREFIX}LEADER_ELECTION", "false")
    settings = OperatorSettings.from_environment()
    assert settings.watch_namespaces == ("a", "b", "c")
    assert not settings.leader_election
    assert settings.for_decisions().aggregator_image == "registry.example/agg:1"
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 3


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WORKERS", "many", "FEDLOOM_OPERATOR_WORKERS"),
        ("WORKERS", "0", "FEDLOOM_OPERATOR_WORKERS"),
        ("LOG_LEVEL", "LOUD", "FEDLOOM_OPERATOR_LOG_LEVEL"),
        ("LEASE_DURATION_S", "10", "LEASE_RENEW_DEADLINE_S"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch, name, value, told):
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsInvalidError, match=told):
        OperatorSettings.from_environment()


def test_every_setting_says_what_it_is():
    for name, field in OperatorSettings.model_fields.items():
        assert field.description, name
        assert field.default is not None, name
