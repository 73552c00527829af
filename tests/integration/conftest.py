"""One API server for all integration tests that need one, and JobSet's resource on it."""

from tests.integration.fedoperator.kit import api, namespace
from tests.integration.pools.jobset_resource import jobset

__all__ = ["api", "jobset", "namespace"]
