"""Which tests parallel workers (`pytest -n 3`) may not take apart. Used by conftest.py, for pytest-xdist.

Tests of one file share what its fixtures make. Tests of one API server share that, and want no second operator on it.
On the real cluster every test has a namespace of its own, but for those of the matrix, which look at one run. What takes
longest comes first, so that all workers end at about the same time.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTER = ("tests/e2e/", "tests/chaos/cluster/")
MATRIX = "tests/e2e/test_learning_matrix.py"  # its tests look at jobs of one namespace
API_SERVERS = {
    "api": (  # the fixture of tests/integration
        "tests/integration/crds/",
        "tests/integration/fedoperator/",
        "tests/integration/pools/",
        "tests/integration/fedaggregator/test_fenced_store.py",
        "tests/integration/fedaggregator/test_status_on_kubernetes.py",
        "tests/integration/fedbackup/test_facts_on_kubernetes.py",
        "tests/integration/fedcli/test_enrollment.py",
        "tests/integration/fedregistry/test_operator.py",
        "tests/integration/fedregistry/test_token_command.py",
        "tests/chaos/fedoperator/",
        "tests/long/test_certmanager.py",
    ),
    "chart": ("tests/chart/",),
}
LONGEST = (
    "tests/chaos/fedlocal/test_kills.py",
    MATRIX,
    "tests/e2e/test_disaster.py",
    "tests/e2e/test_rings.py",
    "tests/chaos/cluster/test_ring_faults.py",
    "tests/e2e/test_heart_disease.py",
)


def rank(nodeid: str) -> int:
    """Its place in the order of tests: what is not among the longest comes after them, as it was collected."""
    return next((place for place, longest in enumerate(LONGEST) if nodeid.startswith(longest)), len(LONGEST))


def together(nodeid: str) -> str:
    """Tests for which this is the same run in one worker, one after the other."""
    path = nodeid.partition("::")[0]
    if path.startswith(CLUSTER) and path != MATRIX:
        return nodeid
    return next((server for server, users in API_SERVERS.items() if path.startswith(users)), path)


def check(item: pytest.Item) -> None:
    """Refuses a test that would end the API server under the others, in a worker that has not started it."""
    if "api" in item.fixturenames and together(item.nodeid) != "api":
        raise pytest.UsageError(f"{item.nodeid} uses the fixture api: name its file in tests/workers.py")


_ends: dict[str, Callable[[], None]] = {}


@contextmanager
def serving(server: str, end: Callable[[], None]) -> Iterator[None]:
    """Ends an API server after the last test of it that this worker runs, at the latest with the session.

    An idle control plane takes 5 % of a core, and a worker has other tests to run long after those of its API server.
    """
    _ends[server] = end
    try:
        yield
    finally:
        _end(server)


def served(server: str) -> bool:
    """Whether tests of this process have that API server up."""
    return server in _ends


def passed(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A test is over. Without parallel workers, tests of one server are not all behind one another."""
    server = together(item.nodeid)
    if hasattr(item.config, "workerinput") and nextitem is not None and together(nextitem.nodeid) != server:
        _end(server)


def _end(server: str) -> None:
    if end := _ends.pop(server, None):
        end()


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Waits until no other worker holds the lock."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Scheduler(LoadScopeScheduling):
    """Hands out what belongs together, in the order in which it was collected."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)
