"""The claim of the store's volume."""

import pytest

from fedoperator.desired import store_claim
from tests.unit.fedoperator import samples as s


@pytest.mark.parametrize(("when", "owned"), [("Retain", False), ("Delete", True)])
def test_the_store_outlives_the_job_unless_asked(when, owned):
    claim = store_claim.store_claim(s.job(storage={"volume": {"whenDeleted": when}}))
    assert ("ownerReferences" in claim["metadata"]) is owned


@pytest.mark.parametrize(("live", "size"), [(None, "10Gi"), ("5Gi", "10Gi"), ("20Gi", "20Gi")])
def test_an_enlarged_claim_is_never_shrunk(live, size):
    assert store_claim.store_claim(s.job(), live)["spec"]["resources"]["requests"]["storage"] == size
