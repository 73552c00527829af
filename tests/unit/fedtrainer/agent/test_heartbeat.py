"""Heartbeats of a site that the registry cannot have: told, and nothing else is disturbed."""

import logging
import subprocess
import threading

import pytest

from fedapi import names
from fedtrainer.agent.heartbeat import Beating
from fedtrainer.errors import BadSettingsError
from fedtrainer.heartbeat_settings import HeartbeatSettings
from tests.waiting import PATIENCE_S


@pytest.fixture
def site(tmp_path, monkeypatch):
    key, certificate = tmp_path / "ca.key", tmp_path / names.FILE_CA
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
         "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / names.FILE_REGISTRY_TOKEN).write_text("0" * 64)
    monkeypatch.setenv(names.ENV_REGISTRY_URL, "https://127.0.0.1:1")
    monkeypatch.setenv(names.ENV_CREDENTIALS_DIR, str(tmp_path))
    monkeypatch.setenv(names.ENV_CLIENT, "berlin")
    return monkeypatch


def test_a_site_whose_name_is_too_long_for_the_registry_is_told(site, caplog):
    site.setenv(names.ENV_CLIENT, "b" * 64)
    beating = Beating(HeartbeatSettings.read(), every_s=0.001)
    thread = threading.Thread(target=beating.beat, args=(HeartbeatSettings.read(),))
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda _record: told.set()
    logging.getLogger("fedtrainer.agent.heartbeat").addHandler(handler)
    try:
        thread.start()
        assert told.wait(PATIENCE_S)
        assert thread.is_alive(), "it goes on"
    finally:
        beating.__exit__(None, None, None)
        thread.join(PATIENCE_S)
        logging.getLogger("fedtrainer.agent.heartbeat").removeHandler(handler)
    assert f"default/{'b' * 64} cannot be a site of the registry: client_id: " in caplog.text


@pytest.mark.parametrize("labels", ['{"country": "not a label"}', '{"country": 7}'])
def test_labels_that_are_none_are_named_at_the_start(site, labels):
    site.setenv("FEDLOOM_LABELS", labels)
    with pytest.raises(BadSettingsError, match="FEDLOOM_LABELS"):
        HeartbeatSettings.read()
