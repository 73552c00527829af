"""The API server of the operator shell's tests."""

from tests.integration.operator_shell.kit import api, namespace

__all__ = ["api", "namespace"]
