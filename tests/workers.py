"""Which tests parallel workers (`pytest -n 3`) may not take apart. Used by conftest.py, for pytest-xdist.

Tests of one file share what its fixtures make. Tests of one API server share that, and want no second operator on it.
On the real cluster every test has a namespace of its own.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTER = ("tests/e2e/", "tests/chaos/cluster/")
API_SERVERS = {
    "api": (  # the fixture of tests/integration
        "tests/integration/crds/",
        "tests/integration/fedoperator/",
        "tests/integration/pools/",
        "tests/integration/fedaggregator/test_status_on_kubernetes.py",
        "tests/chaos/fedoperator/",
    ),
    "chart": ("tests/chart/",),
}


def together(nodeid: str) -> str:
    """Tests for which this is the same run in one worker, one after the other."""
    if nodeid.startswith(CLUSTER):
        return nodeid
    path = nodeid.partition("::")[0]
    return next((server for server, users in API_SERVERS.items() if path.startswith(users)), path)


def check(item: pytest.Item) -> None:
    """Refuses a test that would end the API server under the others, in a worker that has not started it."""
    if "api" in item.fixturenames and together(item.nodeid) != "api":
        raise pytest.UsageError(f"{item.nodeid} uses the fixture api: name its file in tests/workers.py")


class Scheduler(LoadScopeScheduling):
    """Hands out what belongs together, in the order in which it was collected."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)
