"""The API server of the operator shell's tests."""

from tests.integration.fedoperator.kit import api, namespace

__all__ = ["api", "namespace"]
