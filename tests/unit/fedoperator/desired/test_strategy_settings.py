"""The operator hands on a strategy's name and numbers, whichever strategies there are; and what history keeps."""

from typing import Literal

import pytest

from fedapi.crd.fields import Decimal, Part
from fedapi.crd.strategy import Strategy
from fedoperator.desired.config import job_config
from tests.unit.fedoperator import samples


class Numbers(Part):
    rate: Decimal = "0.5"
    rounds_before: int = 3


class Two(Strategy):
    name: Literal["FedAvg", "Other"] = "FedAvg"
    other: Numbers | None = None


def test_numbers_are_those_of_the_field_that_is_set():
    assert Two(name="Other", other=Numbers(rate="1e-3")).parameters() == {"rate": 0.001, "rounds_before": 3.0}
    assert Two(name="Other", other={"roundsBefore": 5}).parameters() == {"rate": 0.5, "rounds_before": 5.0}
    assert Two().parameters() == {}


@pytest.mark.parametrize(("keep", "expected"), [(None, None), ("All", None), (7, 7)])
def test_what_history_keeps(keep, expected):
    job = samples.job(**({} if keep is None else {"storage": {"history": {"keep": keep}}}))
    assert job_config(job, ()).history_keep == expected
