"""The API server of the tests that run the controllers of another project on it."""

from tests.integration.fedoperator.kit import api, namespace

__all__ = ["api", "namespace"]
