"""What parallel workers share, and what several rings share: the real local cluster with Fedloom on it."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import commands, failures, workers
from tests.cluster import state
from tests.e2e.world import World, prepare
from tests.integration.fedlocal import custom
from tools import deploy

pytest_plugins = ["tests.servers.fixtures"]

# No test depends on the machine's speed, nor on what a run happens to draw: `make test-repeat` searches with new examples.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any-run", settings.get_profile("search"), derandomize=True)
settings.load_profile("any-run")

ROOT = Path(__file__).resolve().parents[1]
AFTER_SOCKETS = -101  # multiprocessing removes the folder of its sockets with -100
PACED, AGGREGATOR = ROOT / "tests" / "e2e" / "paced", ROOT / "tests" / "e2e" / "aggregator"


def pytest_xdist_make_scheduler(config, log):
    return workers.Scheduler(config, log)


def pytest_configure(config):
    """Temporary files of processes that are killed, torch's above all, end with the tests."""
    if not hasattr(config, "workerinput"):
        temporary = tempfile.mkdtemp(prefix="fedloom-")  # short: sockets are there, too
        Path(temporary).chmod(0o711)  # some processes become another user
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
        Finalize(None, shutil.rmtree, (temporary,), {"ignore_errors": True}, AFTER_SOCKETS)


def pytest_sessionstart(session):
    failures.tell(session)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: workers.rank(item.nodeid))


def pytest_itemcollected(item):
    workers.check(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    done = yield
    workers.passed(item, nextitem)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A worker sends what a test printed as UTF-8, which half of a surrogate pair is not."""
    report = yield
    report.sections = [(title, text.encode(errors="replace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """The local cluster with this checkout's images and chart (two operator replicas, one leads), and somebody's strategies."""
    with state.locked("platform"):  # the second worker finds everything there
        cluster = deploy.local_cluster()
        deploy.task_image(cluster, PACED, "localhost/fedloom-paced:dev")
        deploy.task_image(cluster, _with_strategies(tmp_path_factory), "localhost/fedloom-strategies:dev", "aggregator")
        values = {"operator.replicas": "2", "aggregator.image.repository": "localhost/fedloom-strategies"}
        deploy.install_chart(cluster.kubeconfig, None, **values)
    return cluster


def _with_strategies(tmp_path_factory) -> Path:
    """The context of an aggregator's image with a package of somebody's strategies."""
    context = tmp_path_factory.mktemp("aggregator")
    shutil.copy(AGGREGATOR / "Dockerfile", context)
    custom.wheel(context)
    return context


@pytest.fixture
def world(platform, request):
    """A namespace of its own under the restricted pod security standard, removed afterwards."""
    with World.create(platform.kubeconfig, request.node.name) as made:
        yield made


@pytest.fixture(scope="session")
def embedded_digest(tmp_path_factory, request):
    """Digest of a job's model when the embedded runner trains it undisturbed: once for all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own

    def digest(documents: Sequence[Any], task: Path = PACED / "paced.py", preparing: Path | None = None) -> str:
        """`preparing`: a program that puts the sites' data beside the manifests, where there are any."""
        manifests = World.as_yaml(documents)
        folder = shared / f"embedded-{hashlib.sha256(manifests.encode()).hexdigest()[:16]}"
        folder.mkdir(exist_ok=True)
        with workers.alone(folder / "lock"):
            if not (folder / "digest").exists():
                (folder / "manifests.yaml").write_text(manifests)
                (folder / task.name).write_bytes(task.read_bytes())
                if preparing:
                    prepare(preparing, "--out", folder)
                (folder / "digest").write_text(_trained(folder))
        return (folder / "digest").read_text()

    return digest


def _trained(folder: Path) -> str:
    commands.fedloom("run", folder, "--workdir", folder / "state", "--fresh", "--result", folder / "result.json")
    return World.read_result(folder / "result.json")["model"]["sha256"]
