"""One API server for all tests of the chart, and releases of the chart on it."""

from collections.abc import Iterator

import pytest

from fedapi.crd.manifest import definitions
from tests.chart.rendering import NAMESPACE, VALUES
from tests.chart.server import RELEASE, SERVICE_MONITOR, SITES, apply, release
from tests.cluster.api import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    found = Cluster.up("chart", api_only=True, controllers=True, fresh=True)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in (NAMESPACE, *SITES, "elsewhere"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        apply(found, namespace)
    apply(found, SERVICE_MONITOR)
    yield found
    found.down()


@pytest.fixture
def installed(cluster) -> Iterator[str]:
    """The default release; what it prints."""
    yield release(cluster, "install", *RELEASE)
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
    yield release(cluster, "install", *RELEASE, "--values", VALUES / "namespaced.yaml", user="tenant")
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE, user="tenant")


@pytest.fixture
def definitions_there(cluster):
    """The custom resource definitions, as an administrator installs them."""
    apply(cluster, *definitions().values(), flags=("--force-conflicts",))
    cluster.kubectl(
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        *[f"crd/{d['metadata']['name']}" for d in definitions().values()],
    )
