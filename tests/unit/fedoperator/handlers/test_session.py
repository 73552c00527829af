"""Which watch a request belongs to."""

import pytest

from fedoperator.handlers.session import stream_of
from fedoperator.watch_health import Stream


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", Stream("Pod", None)),
        ("/api/v1/namespaces/ns/pods", Stream("Pod", "ns")),
        ("/apis/fedloom.dev/v1alpha1/federatedjobs", Stream("FederatedJob", None)),
        ("/apis/coordination.k8s.io/v1/namespaces/ns/leases", Stream("Lease", "ns")),
        ("/api", None),
        ("/apis", None),
        ("/apis/apps/v1", None),
        ("/api/v1/secrets", None),
    ],
)
def test_a_request_belongs_to_a_watch(path, expected):
    assert stream_of(path) == expected
