"""The API server of the operator shell's tests, and JobSet's resource on it."""

from tests.integration.operator_shell.kit import api, namespace
from tests.integration.pools.jobset_resource import jobset

__all__ = ["api", "jobset", "namespace"]
