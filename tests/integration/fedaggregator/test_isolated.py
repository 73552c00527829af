"""Nothing that task code wrote is imported by the aggregator, whatever its environment and working directory say."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedaggregator.settings import Settings
from fedapi import names
from fedapi.outcome import Exit
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
NEEDED = {names.ENV_JOB: "j", names.ENV_NAMESPACE: "n", names.ENV_JOB_UID: "u", names.ENV_PUBLIC_URL: "https://a"}


def test_what_lies_in_the_store_volume_is_never_imported(tmp_path):
    """`sitecustomize`, a module of the product, one of the standard library, a start-up file, the user's own folder."""
    ran = tmp_path / "ran"
    evil = f"open({str(ran)!r}, 'a').write(__name__ + ' ')\n"
    for name in ("sitecustomize", "usercustomize", "fedapi", "fedaggregator", "json", "asyncio", "startup"):
        (tmp_path / f"{name}.py").write_text(evil)
    user = tmp_path / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    user.mkdir(parents=True)
    (user / "usercustomize.py").write_text(evil)
    (user / "evil.pth").write_text(f"import sys; open({str(ran)!r}, 'a').write('pth ')\n")
    env = {
        "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "startup.py"), "PYTHONUSERBASE": str(tmp_path),
        "PYTHONHOME": "", "PYTHONINSPECT": "", "HOME": str(tmp_path), "PATH": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, *names.AGGREGATOR_COMMAND[1:]]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == Exit.BAD_SETTINGS, done.stderr
    assert names.ENV_JOB in done.stderr
    assert not ran.exists(), ran.read_text()


@pytest.mark.parametrize("name", [names.ENV_STORE, names.ENV_CONFIG_FILE, names.ENV_HOST])
def test_settings_have_one_spelling(name, monkeypatch):
    for known, value in NEEDED.items():
        monkeypatch.setenv(known, value)
    monkeypatch.setenv(name, "/right")
    plain = Settings()
    monkeypatch.setenv(name.lower(), "/wrong")
    assert Settings() == plain
