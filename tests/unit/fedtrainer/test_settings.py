"""The trainer's settings are read from the environment by hand: what is wrong is told by name, and no token is told."""

import pytest

from fedapi import names
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import HubSettings, InitSettings, TrainerSettings

SET = {
    names.ENV_ENTRYPOINT: "task:task",
    names.ENV_JOB: "job",
    names.ENV_JOB_UID: "uid",
    names.ENV_AGGREGATOR_URL: "https://hub",
    names.ENV_CLIENT: "site",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for variables in (InitSettings, TrainerSettings):
        for field in variables.model_fields.values():
            monkeypatch.delenv(str(field.validation_alias), raising=False)
    for name, value in SET.items():
        monkeypatch.setenv(name, value)


def test_every_field_has_a_variable_of_its_own():
    for settings in (InitSettings, TrainerSettings):
        variables = [field.validation_alias for field in settings.model_fields.values()]
        assert all(isinstance(name, str) and name.isupper() for name in variables)
        assert len({*variables}) == len(variables)


def test_numbers_and_json_are_read(monkeypatch):
    monkeypatch.setenv(names.ENV_SEED, "7")
    monkeypatch.setenv(names.ENV_TASK_ARGS, '{"depth": 2}')
    monkeypatch.setenv("FEDLOOM_PATIENCE_S", "0.5")
    read = TrainerSettings.read()
    assert (read.seed, read.task_args, read.patience_s, read.client) == (7, {"depth": 2}, 0.5, "site")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.ENV_SEED, "seven"),
        (names.ENV_SEED, ""),
        (names.ENV_TASK_ARGS, "{"),
        (names.ENV_TASK_ARGS, "[1]"),
        (names.ENV_CLIENT, None),
        (names.ENV_AGGREGATOR_URL, "http://hub"),
        (names.ENV_CLIENT, "\udcff"),
    ],
)
def test_what_is_wrong_is_told_by_the_variable(monkeypatch, name, value):
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingsError, match=f"settings: {name}: "):
        TrainerSettings.read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", "is empty"),
        (b"abc\r\nX-More: 1", "holds no token"),
        (b"abc\x00", "holds no token"),
        ("abc\u20ac".encode(), "holds no token"),
        (b"abc\xff", "holds no token"),
    ],
)
def test_a_token_that_is_none_is_told_and_not_shown(tmp_path, content, words):
    settings = HubSettings.model_validate({**SET, names.ENV_CREDENTIALS_DIR: tmp_path})
    (tmp_path / names.FILE_TOKEN).write_bytes(content)
    with pytest.raises(BadSettingsError, match=f"token: .* {words}: mount the Secret") as raised:
        settings.token()
    assert "abc" not in str(raised.value)
    (tmp_path / names.FILE_TOKEN).write_bytes(b"abc\n")
    assert settings.token().get_secret_value() == "abc"
