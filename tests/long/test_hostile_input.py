"""Far more of the hostile input that the suite sends: tensor files by the million, HTTP requests by the ten thousand."""

import pytest

from tests.integration.fedaggregator.beside import final_model
from tests.integration.fedaggregator.harness import close_clients
from tests.property.fedaggregator.tensor_files import check

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("seed", range(3))
def test_a_million_tensor_files_that_are_almost_right(seed):
    assert check(1_000_000, seed) > 0


def test_the_model_is_the_same_bit_for_bit_beside_37744_requests(tmp_path):
    try:
        assert final_model(tmp_path / "alone", 20, 0) == final_model(tmp_path / "beside", 20, 37_744, threads=4)
    finally:
        close_clients()
