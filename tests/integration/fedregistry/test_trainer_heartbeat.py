"""`python -m fedtrainer heartbeat` against the registry's process: seen, with what the machine has, and told when refused."""

import os
import subprocess
import sys

import pytest

from fedapi import names
from fedapi.wire.tokens import heartbeat_token
from fedtrainer.capability import cpus
from tests.integration.fedregistry.harness import KEY, running
from tests.waiting import until


@pytest.fixture(scope="module")
def registry(moto, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    with running(folder / "process", moto.endpoint, moto.credentials(folder / "table")) as started:
        yield started


def site(registry, folder, client, token):
    folder.mkdir()
    (folder / names.FILE_CA).write_bytes((registry.folder / "credentials" / names.FILE_CA).read_bytes())
    (folder / names.FILE_REGISTRY_TOKEN).write_text(token)
    env = {
        names.ENV_REGISTRY_URL: registry.url, names.ENV_NAMESPACE: "hospitals", names.ENV_CLIENT: client,
        names.ENV_CREDENTIALS_DIR: str(folder), names.ENV_ACCELERATOR: "GPU", names.ENV_RING_SLOTS: "2",
        "FEDLOOM_ORGANIZATION": "Charité", "FEDLOOM_LABELS": '{"country": "de"}',
    }  # fmt: skip
    command = [sys.executable, "-m", "fedtrainer", "heartbeat"]
    return subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE, text=True)


def test_a_site_is_seen(registry, tmp_path):
    with site(registry, tmp_path / "s", "berlin", heartbeat_token(KEY, "hospitals/berlin")) as process:
        try:
            with registry.client() as http:
                seen = until(lambda: registry.sites(http).get("hospitals/berlin"))
        finally:
            process.terminate()
            process.communicate()
    assert seen["capability"]["cpu"] == cpus()
    assert seen["capability"]["accelerator"] == "GPU x2"
    assert (seen["organization"], seen["labels"]) == ("Charité", {"country": "de"})
    assert process.returncode == 128 + 15


def test_a_site_with_another_ones_token_is_told(registry, tmp_path):
    with site(registry, tmp_path / "s", "lyon", heartbeat_token(KEY, "hospitals/berlin")) as process:
        try:
            line = next(line for line in process.stderr if "took no heartbeat" in line)
        finally:
            process.terminate()
            process.communicate()
    assert "not that of 'hospitals/lyon'" in line
    assert heartbeat_token(KEY, "hospitals/berlin") not in line
