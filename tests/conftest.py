"""What parallel workers share, and what several rings share: the real local cluster with Fedloom on it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import workers
from tests.cluster import state
from tests.e2e.world import World
from tools import deploy

ROOT = Path(__file__).resolve().parents[1]
PACED = ROOT / "tests" / "e2e" / "paced"


def pytest_xdist_make_scheduler(config, log):
    return workers.Scheduler(config, log)


def pytest_itemcollected(item):
    workers.check(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A worker sends what a test printed as UTF-8, which half of a surrogate pair is not."""
    report = yield
    report.sections = [(title, text.encode(errors="replace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def platform():
    """The local cluster with this checkout's images and chart (two operator replicas, one leads)."""
    with state.locked("platform"):  # the second worker finds everything there
        cluster = deploy.local_cluster()
        deploy.task_image(cluster, PACED, "localhost/fedloom-paced:dev")
        deploy.install_chart(cluster.kubeconfig, None, **{"operator.replicas": "2"})
    return cluster


@pytest.fixture
def world(platform, request):
    """A namespace of its own under the restricted pod security standard, removed afterwards."""
    with World.create(platform.kubeconfig, request.node.name) as made:
        yield made


@pytest.fixture(scope="session")
def embedded_digest(tmp_path_factory):
    """Digest of the paced job's model when the embedded runner trains it undisturbed."""

    def run(documents, job):
        folder = tmp_path_factory.mktemp("embedded")
        (folder / "manifests.yaml").write_text(World.as_yaml(documents))
        (folder / "paced.py").write_text((PACED / "paced.py").read_text())
        result = folder / "result.json"
        command = [
            sys.executable,
            "-m",
            "fedcli",
            "run",
            str(folder),
            "--workdir",
            str(folder / "state"),
            "--result",
            str(result),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{job}: {done.stdout}\n{done.stderr}"
        return World.read_result(result)["model"]["sha256"]

    return run
