"""Tests that need an NVIDIA GPU, run by `make test-gpu`. Where there is none every test here fails with one line."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def gpu():
    """Name of the first GPU."""
    if not torch.cuda.is_available():
        pytest.fail("tests/gpu need an NVIDIA GPU, and torch finds none here", pytrace=False)
    return torch.cuda.get_device_name(0)
