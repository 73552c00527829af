"""Honest sites end with the same bits whatever else is sent to their aggregator. tests/long sends far more."""

import pytest

from tests.integration.fedaggregator.beside import final_model


@pytest.mark.timeout(600)
def test_the_model_is_the_same_bit_for_bit(tmp_path):
    assert final_model(tmp_path / "alone", 5, 0) == final_model(tmp_path / "beside", 5, 1000)
