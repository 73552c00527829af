"""Closes the connections that a test's scripted sites opened."""

import pytest

from tests.integration.fedaggregator.harness import close_clients


@pytest.fixture(autouse=True)
def closed_connections():
    yield
    close_clients()
