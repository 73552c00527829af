"""One API server for all tests of the chart, and releases of the chart on it."""

from collections.abc import Iterator

import pytest

from fedapi.crd.manifest import definitions
from tests import workers
from tests.chart.rendering import NAMESPACE, VALUES
from tests.chart.server import OPERATOR, RELEASE, SERVICE_MONITOR, SITES, apply, established, may, release
from tests.cluster.api import Cluster
from tests.waiting import until


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = Cluster.up("chart", api_only=True, controllers=True, fresh=True)
    with workers.serving("chart", found.down):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        for name in (NAMESPACE, *SITES, "elsewhere"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            apply(found, namespace)
            account = ("get", "serviceaccount", "default", "-n", name, "--ignore-not-found", "-o", "name")
            until(lambda account=account: found.kubectl(*account))  # a controller makes it
        apply(found, SERVICE_MONITOR)
        yield found


@pytest.fixture
def installed(cluster) -> Iterator[str]:
    """The default release; what it prints."""
    said = release(cluster, "install", *RELEASE)
    established(cluster)
    until(lambda: may(cluster, OPERATOR, "hospital-a"))
    yield said
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE)


@pytest.fixture
def namespaced(cluster, definitions_there) -> Iterator[str]:
    """A release that a tenant without any right on the cluster installed."""
    grants = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "tenant", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant"}],
        }
        for namespace in (NAMESPACE, *SITES)
    ]
    apply(cluster, *grants)
    until(lambda: all(may(cluster, "tenant", namespace) for namespace in (NAMESPACE, *SITES)))
    said = release(cluster, "install", *RELEASE, "--values", VALUES / "namespaced.yaml", user="tenant")
    until(lambda: all(may(cluster, OPERATOR, namespace) for namespace in SITES))
    yield said
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE, user="tenant")


@pytest.fixture
def definitions_there(cluster):
    """The custom resource definitions, as an administrator installs them."""
    apply(cluster, *definitions().values(), flags=("--force-conflicts",))
    established(cluster)
