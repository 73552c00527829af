"""`fedloom site key`: the private half stays in a file of its owner's, or in a Secret; only the public half is shown."""

import stat

import pytest
import yaml
from typer.testing import CliRunner

from fedapi import names
from fedapi.crd.identity import Identity
from fedapi.wire.signing import SigningKey
from fedcli.commands import app
from fedcli.errors import CommandError


def run(*words: str) -> tuple[str, str]:
    done = CliRunner().invoke(app, ["site", "key", *words], catch_exceptions=True, env={"COLUMNS": "300"})
    if done.exception is not None:
        raise done.exception
    return done.stdout, done.stderr


def told(text: str) -> str:
    """The public key, as FLClient takes it."""
    return Identity.model_validate(yaml.safe_load(text)["spec"]["identity"]).keys[0].public_key


def test_a_new_key_is_a_file_of_its_owner_s_alone_and_is_shown_without_its_secret(tmp_path):
    file = tmp_path / "own.key"
    out, beside = run("new", "north", "--file", str(file))
    made = SigningKey.of_pem(file.read_bytes())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert told(out) == made.public_key
    assert f"# key id {made.id}" in out
    assert run("show", str(file))[0] == out
    assert made.pem().decode().splitlines()[1] not in out + beside


def test_a_key_is_never_written_over(tmp_path):
    file = tmp_path / "own.key"
    run("new", "north", "--file", str(file))
    before = file.read_bytes()
    with pytest.raises(CommandError, match="is there: name another file"):
        run("new", "north", "--file", str(file))
    assert file.read_bytes() == before


@pytest.mark.parametrize("namespace", ["", "lab"])
def test_a_secret_is_printed_and_nothing_is_written(tmp_path, monkeypatch, namespace):
    monkeypatch.chdir(tmp_path)
    out, beside = run("new", "north", "--secret", *(("-n", namespace) if namespace else ()))
    secret = yaml.safe_load(out)
    made = SigningKey.of_pem(secret["stringData"][names.FILE_SIGNING_KEY].encode())
    assert secret["metadata"] == {"name": "fedloom-site-key-north"} | ({"namespace": namespace} if namespace else {})
    assert told(beside) == made.public_key
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("new", "North"), "name of the site 'North' must be"),
        (("new", "north", "--secret", "-n", "a/b"), "namespace 'a/b' must be"),
        (("new", "north", "--file", "no/such/folder/key"), "name a file in a folder that is there"),
        (("show", "nothing.key"), "nothing.key: No such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, monkeypatch, words, fault):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=fault):
        run(*words)


def test_what_is_no_key_is_named(tmp_path):
    (tmp_path / "a.key").write_text("none")
    with pytest.raises(CommandError, match=r"a\.key: it holds no unencrypted private key in PEM"):
        run("show", str(tmp_path / "a.key"))
