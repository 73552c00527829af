"""README.md's `kubectl apply` as it is written, with the real kubectl against a real API server."""

import os
import subprocess

import pytest

from tests.cluster import tools as cluster_tools
from tools.readme_commands import ROOT, commands

pytestmark = pytest.mark.apiserver


def test_the_readmes_manifest_is_applied_as_it_is_written(api):
    (command,) = (each for each in commands((ROOT / "README.md").read_text()) if each.startswith("kubectl apply"))
    programs = f"{cluster_tools.folder() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": programs, "KUBECONFIG": str(api.cluster.kubeconfig)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["created", "created"]
    api.delete("FederatedJob", "default", "hearts")
    api.delete("FLClient", "default", "hospital-a")
